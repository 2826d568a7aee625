// Boxes of a grid that are sampled, and where their values go.
#ifndef CMC_CORE_SAMPLED_BOX_H_
#define CMC_CORE_SAMPLED_BOX_H_

#include <array>
#include <vector>

#include "cmc_core/intensity.h"
#include "cmc_core/types.h"

namespace cmc::core {

// Memory for a box's values: voxel (x, y, z) of the box is data[offsets[0][x] + offsets[1][y] + offsets[2][z]].
struct Destination {
  float* data = nullptr;
  std::array<std::vector<Index>, 3> offsets;

  // A whole array in C order.
  static Destination Whole(float* data, const Size3& size) {
    Destination whole{data, {}};
    Index stride = 1;
    for (int axis = 2; axis >= 0; --axis) {
      for (Index index = 0; index < size[axis]; ++index) whole.offsets[axis].push_back(index * stride);
      stride *= size[axis];
    }
    return whole;
  }

  // Writes a part of the box; voxel (x, y, z) of `part` is values[x * strides[0] + y * strides[1] + z * strides[2]].
  void Store(const GridBox& part, const float* values, const Size3& strides) const {
    const Index* z_offsets = offsets[2].data() + part.start[2];
    for (Index x = 0; x < part.size[0]; ++x) {
      for (Index y = 0; y < part.size[1]; ++y) {
        float* row = data + offsets[0][part.start[0] + x] + offsets[1][part.start[1] + y];
        const float* from = values + x * strides[0] + y * strides[1];
        for (Index z = 0; z < part.size[2]; ++z) row[z_offsets[z]] = from[z * strides[2]];
      }
    }
  }
};

// What is done to sums of true values less `background` before they are stored.
struct Finish {
  float background = 0.0f;
  const IntensityRule* rule = nullptr;  // none: values stay raw
  const IntensityStatistics* statistics = nullptr;

  void operator()(float* values, Index count) const {
    for (Index i = 0; i < count; ++i) values[i] += background;
    if (rule != nullptr) Normalise(values, count, *rule, *statistics);
  }
};

// Splits `count` into equal parts of at most `most`: the size of a part, the last of which may be smaller.
inline Index EqualPart(Index count, Index most) {
  const Index parts = (count + most - 1) / most;
  return (count + parts - 1) / parts;
}

}  // namespace cmc::core

#endif  // CMC_CORE_SAMPLED_BOX_H_
