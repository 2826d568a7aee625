// The open slices of a model grid as they lie in memory.
#ifndef CMC_CORE_RING_H_
#define CMC_CORE_RING_H_

#include <array>

#include "cmc_core/types.h"

namespace cmc::core {

// Logits (K, X, Y, Z), C order. Along `axis` model slice i lies at i modulo the ring's size, so that opening slices
// moves none; along the other axes the ring holds the whole grid.
struct RingView {
  const float* data = nullptr;
  Size3 size{};
  int axis = 0;

  Index Slot(int along, Index index) const { return along == axis ? index % size[along] : index; }
  Index ClassStride() const { return Count(size); }
  Size3 Strides() const { return {size[1] * size[2], size[2], 1}; }
};

// A part of a box of model voxels that is a box in the ring too.
struct RingPart {
  Size3 skipped{};     // voxels of the box before it
  Size3 size{};        // voxels, 0 along the ring's axis if there is no such part
  Index position = 0;  // of its first voxel in the ring's memory, within a class
};

// A box, no longer than the ring, falls into two parts at most: before and after the place where the ring closes.
inline std::array<RingPart, 2> SplitBox(const RingView& ring, const GridBox& box) {
  std::array<RingPart, 2> parts;
  const int axis = ring.axis;
  const Index first = ring.Slot(axis, box.start[axis]);
  const Index until_end = ring.size[axis] - first;
  const Index sizes[2] = {box.size[axis] < until_end ? box.size[axis] : until_end,
                          box.size[axis] < until_end ? 0 : box.size[axis] - until_end};
  const Size3 strides = ring.Strides();
  for (int part = 0; part < 2; ++part) {
    parts[part].size = box.size;
    parts[part].size[axis] = sizes[part];
    parts[part].skipped[axis] = part == 0 ? 0 : sizes[0];
    for (int a = 0; a < 3; ++a) {
      const Index slot = a != axis ? box.start[a] : part == 0 ? first : 0;
      parts[part].position += slot * strides[a];
    }
  }
  return parts;
}

}  // namespace cmc::core

#endif  // CMC_CORE_RING_H_
