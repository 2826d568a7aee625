#include "cmc_core/class_set.h"

#include <algorithm>
#include <cmath>
#include <limits>

namespace cmc::core {

void FindClasses(const LabelKernels& kernels, const RingView& ring, const GridBox& box, int num_classes,
                 ClassSet* found) {
  const std::array<RingPart, 2> parts = SplitBox(ring, box);
  const Size3 strides = ring.Strides();
  std::array<float, kMostClasses> largest;
  float floor = -std::numeric_limits<float>::infinity();
  for (int c = 0; c < num_classes; ++c) {
    const float* values = ring.data + c * ring.ClassStride();
    float low = values[parts[0].position];
    float high = low;
    for (const RingPart& part : parts) {
      if (part.size[ring.axis] == 0) continue;
      kernels.range(values + part.position, strides[0], strides[1], part.size, ring.ClassStride(), &low, &high);
    }
    largest[c] = high;
    floor = std::max(floor, low);
  }
  found->count = 0;
  for (int c = 0; c < num_classes; ++c) {
    // Interpolated values may pass their bounds by what rounding adds.
    const float rounding = 1e-5F * (std::fabs(largest[c]) + std::fabs(floor));
    if (largest[c] + kNegligible + rounding < floor) continue;
    found->Add(c, ring.ClassStride());
  }
  for (int c = found->count; c < found->Padded(); ++c) found->offsets[c] = found->offsets[found->count - 1];
}

}  // namespace cmc::core
