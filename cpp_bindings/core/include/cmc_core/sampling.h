// Sampling windows from a volume on any grid, with one kernel for aligned and for oblique grids.
#ifndef CMC_CORE_SAMPLING_H_
#define CMC_CORE_SAMPLING_H_

#include <memory>
#include <memory_resource>
#include <optional>
#include <vector>

#include "cmc_core/intensity.h"
#include "cmc_core/threads.h"
#include "cmc_core/types.h"

namespace cmc::core {

// Samples a box of true values into `out` (C order, Count(size) floats); what lies outside the volume is `background`.
//
// A separable tent kernel on the source axes, w(d) = max(0, 1 - |d| / h), normalised to sum 1 over all neighbours,
// those outside the volume included, with h_i = max(1, r_i); r_i is the root of the sum of squares of the i-th row of
// the index map's linear part (for aligned grids the ratio of spacings): trilinear when up-sampling, anti-aliased when
// down-sampling. Positions are rounded to 1e-6 voxel. Values are taken less `background`, which is added at the end, so
// that the sampling blends into it beyond the outermost voxels.
void SampleLinear(const VolumeView& volume, const Matrix4& window_affine_mm, const Size3& size, float background,
                  float* out, Threads& threads, std::pmr::memory_resource* memory = std::pmr::get_default_resource());

// Nearest neighbour, for labels: the stored value whose voxel centre is nearest, the higher index on a tie, written in
// the volume's own dtype; `background` points to one stored value for what lies outside. Slope and intercept are not
// applied.
void SampleNearest(const VolumeView& volume, const Matrix4& window_affine_mm, const Size3& size,
                   const std::byte* background, std::byte* out, Threads& threads);

// Hands out the normalised windows of one scan, and samples every voxel of the model grid once, however much windows
// overlap: a ring of sampled slices along the longest axis holds what windows to come still need.
class WindowSampler {
 public:
  // `volume` must outlive it. `starts` are those of WindowStarts for `grid`, in any order. The sampled grid is the
  // model grid, grown to hold every window (a grid smaller than the window is padded on both sides).
  WindowSampler(const VolumeView& volume, const ModelGrid& grid, const Size3& window, const std::vector<Size3>& starts,
                const IntensityRule& rule, const IntensityStatistics& statistics,
                std::pmr::memory_resource* memory = std::pmr::get_default_resource());
  ~WindowSampler();
  WindowSampler(const WindowSampler&) = delete;
  WindowSampler& operator=(const WindowSampler&) = delete;

  // Writes the window at `start` (C order) and says its one value if it is constant. Along the longest axis starts must
  // not decrease from call to call: throws std::invalid_argument if they do.
  std::optional<float> Window(const Size3& start, float* out, Threads& threads);

  // Bytes that a sampler holds, the largest while it works included, for `threads` threads.
  static Index Bytes(const VolumeView& volume, const ModelGrid& grid, const Size3& window,
                     const std::vector<Size3>& starts, int threads);

 private:
  struct State;
  std::unique_ptr<State> state_;
};

}  // namespace cmc::core

#endif  // CMC_CORE_SAMPLING_H_
