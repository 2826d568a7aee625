#include <algorithm>
#include <array>
#include <cmath>
#include <cstring>
#include <limits>
#include <optional>
#include <stdexcept>
#include <vector>

#include "cmc_core/geometry.h"
#include "cmc_core/sampling.h"
#include "cmc_core/voxels.h"

namespace cmc::core {
namespace {

// Sides of a brick of samples: small enough that the source voxels around it stay in the cache, whichever axis of
// theirs is the fastest.
constexpr Size3 kBrick{16, 16, 64};

// The voxel whose centre is nearest, the higher one on a tie; -1 outside [0, size).
Index NearestIndex(double position, Index size) {
  const double index = std::floor(position + 0.5);
  return index >= 0.0 && index < static_cast<double>(size) ? static_cast<Index>(index) : -1;
}

// The voxel of the source that stands for a voxel of the window; null outside.
class Lookup {
 public:
  Lookup(const VolumeView& volume, const Matrix4& window_affine_mm, const Size3& size)
      : volume_(volume), matrix_(PositionMap(volume, window_affine_mm)) {
    const std::optional<AxisMap> map = AlignAxes(matrix_, size);
    aligned_ = map.has_value();
    if (!aligned_) return;
    for (int axis = 0; axis < 3; ++axis) {
      const int source = map->target_axis[axis];
      for (Index i = 0; i < size[axis]; ++i) {
        const Index index = NearestIndex(map->Position(axis, i), volume.size[source]);
        found_[axis].push_back(index >= 0 ? index * volume.strides[source] : kOutside);
      }
    }
  }

  const std::byte* operator()(Index x, Index y, Index z) const {
    if (aligned_) {
      const Index along[] = {found_[0][x], found_[1][y], found_[2][z]};
      if (along[0] == kOutside || along[1] == kOutside || along[2] == kOutside) return nullptr;
      return volume_.data + along[0] + along[1] + along[2];
    }
    Index offset = 0;
    for (int axis = 0; axis < 3; ++axis) {
      const double* row = matrix_.data() + 4 * axis;
      const double position =
          row[0] * static_cast<double>(x) + row[1] * static_cast<double>(y) + row[2] * static_cast<double>(z) + row[3];
      const Index index = NearestIndex(RoundPosition(position), volume_.size[axis]);
      if (index < 0) return nullptr;
      offset += index * volume_.strides[axis];
    }
    return volume_.data + offset;
  }

 private:
  static constexpr Index kOutside = std::numeric_limits<Index>::min();

  VolumeView volume_;
  Matrix4 matrix_;
  bool aligned_ = false;
  std::array<std::vector<Index>, 3> found_;  // by axis of the window: bytes to the source voxel, or kOutside
};

template <typename T>
void SampleBricks(const VolumeView& volume, const Matrix4& window_affine_mm, const Size3& size,
                  const std::byte* background, std::byte* out, Threads& threads) {
  const Lookup lookup(volume, window_affine_mm, size);
  Size3 parts{};
  for (int axis = 0; axis < 3; ++axis) parts[axis] = (size[axis] + kBrick[axis] - 1) / kBrick[axis];
  threads.Run(Count(parts), [&](Index task, int) {
    const Size3 part{task / parts[2] / parts[1], task / parts[2] % parts[1], task % parts[2]};
    Size3 begin{}, end{};
    for (int axis = 0; axis < 3; ++axis) {
      begin[axis] = part[axis] * kBrick[axis];
      end[axis] = std::min(begin[axis] + kBrick[axis], size[axis]);
    }
    for (Index x = begin[0]; x < end[0]; ++x) {
      for (Index y = begin[1]; y < end[1]; ++y) {
        std::byte* row = out + (x * size[1] + y) * size[2] * Index{sizeof(T)};
        for (Index z = begin[2]; z < end[2]; ++z) {
          const std::byte* voxel = lookup(x, y, z);
          std::memcpy(row + z * Index{sizeof(T)}, voxel != nullptr ? voxel : background, sizeof(T));
        }
      }
    }
  });
}

}  // namespace

void SampleNearest(const VolumeView& volume, const Matrix4& window_affine_mm, const Size3& size,
                   const std::byte* background, std::byte* out, Threads& threads) {
  CheckVolume(volume);
  if (size[0] < 1 || size[1] < 1 || size[2] < 1) throw std::invalid_argument("sampling: a box without voxels");
  WithType(volume.dtype, [&](auto type) {
    SampleBricks<typename decltype(type)::Stored>(volume, window_affine_mm, size, background, out, threads);
  });
}

}  // namespace cmc::core
