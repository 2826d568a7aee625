// Which classes matter in a part of the model grid.
#ifndef CMC_CORE_CLASS_SET_H_
#define CMC_CORE_CLASS_SET_H_

#include <array>

#include "cmc_core/label_kernels.h"
#include "cmc_core/ring.h"

namespace cmc::core {

inline constexpr int kMostClasses = 256;

// Some of the classes, in increasing order. Kernels work on multiples of 8: the last one fills up `offsets`.
struct ClassSet {
  int count = 0;
  std::array<Index, kMostClasses + 9> offsets{};  // floats to the class's part of the ring
  std::array<float, kMostClasses + 9> ids{};

  void Add(int c, Index class_stride) {
    offsets[count] = c * class_stride;
    ids[count++] = static_cast<float>(c);
  }

  int Padded() const { return (count + 7) / 8 * 8; }
};

// The classes that can be the label of a point within a box of model voxels, or add to its softmax's sum. Interpolation
// stays between a class's smallest and largest value in the box, so one whose largest lies more than kNegligible below
// another's smallest never counts, and leaving it out changes no bit. Most of a scan is far from most organs.
void FindClasses(const LabelKernels& kernels, const RingView& ring, const GridBox& box, int num_classes,
                 ClassSet* found);

}  // namespace cmc::core

#endif  // CMC_CORE_CLASS_SET_H_
