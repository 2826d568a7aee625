// Intensity statistics of a volume in one streaming pass, and what they are for: normalising windows.
#ifndef CMC_CORE_INTENSITY_H_
#define CMC_CORE_INTENSITY_H_

#include <array>

#include "cmc_core/threads.h"
#include "cmc_core/types.h"

namespace cmc::core {

enum class Scale { kZScore, kUnitRange };

struct IntensityRule {
  bool has_clip = false;
  double clip_low = 0.0;
  double clip_high = 0.0;
  Scale scale = Scale::kZScore;  // kUnitRange without a clip range counts as kZScore
};

struct IntensityStatistics {
  double background = 0.0;  // the constant border value if there is one, else the minimum; raw
  bool has_border = false;  // 19 of 20 voxels of the outer faces (of axes of three voxels or more) hold one value
  double mean = 0.0;        // of the clipped foreground; the clipped background if there is no foreground
  double std = 0.0;         // of the clipped foreground; 0 if there is none
  double minimum = 0.0;
  double maximum = 0.0;
  bool finite = true;  // if not, the other figures are NaN
  double foreground_fraction = 0.0;
  double foreground_mean = 0.0;     // raw, unclipped; of all voxels if there is no foreground
  std::array<Size3, 2> body_box{};  // half-open box of the foreground; the whole volume if there is none
};

// Statistics under `rule`, slab by slab along the axis that is slowest in memory; sums are merged in the slabs' order,
// so that they do not depend on the number of threads. Foreground are the voxels that differ from the constant border
// value, or, where the border is not constant, those > 0. A border is constant although a body touches it: a brain
// without its skull reaches the lowest plane of many scans with a few voxels.
IntensityStatistics Statistics(const VolumeView& volume, const IntensityRule& rule, Threads& threads);

// The network's input from raw values, in place: clip, then (v - mean) / std or (v - low) / (high - low), in FP32. A
// foreground without spread (std 0) is only shifted.
void Normalise(float* values, Index count, const IntensityRule& rule, const IntensityStatistics& statistics);

}  // namespace cmc::core

#endif  // CMC_CORE_INTENSITY_H_
