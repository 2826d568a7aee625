// Where windows stand, how they are weighted, and which of them hold nothing but one value.
#ifndef CMC_CORE_WINDOWS_H_
#define CMC_CORE_WINDOWS_H_

#include <array>
#include <map>
#include <optional>
#include <vector>

#include "cmc_core/types.h"

namespace cmc::core {

// First voxels of the windows along one axis; one negative start, -((window - size) / 2), if the axis is shorter than
// the window. The step is max(1, int(window * (1 - overlap))); the last window ends at the end.
std::vector<Index> AxisStarts(Index size, Index window, double overlap);

// First voxels of the windows that cover a grid, in C order. overlap lies in [0, 1).
std::vector<Size3> WindowStarts(const Size3& size, const Size3& window, double overlap);

// Three profiles whose outer product weighs a window: max(exp(-d^2 / 2), 1e-6), d = (i - (n - 1) / 2) / (scale * n).
std::array<std::vector<float>, 3> GaussianAxes(const Size3& window, double sigma_scale = 0.125);

// One axis's weights for each start, cut to [0, size) and divided by the sum over all starts at that voxel (in double).
// The windows form a product of three axes, so weights divided axis by axis add up to 1 and no map of counts is needed.
std::map<Index, std::vector<float>> BlendProfiles(const std::vector<float>& profile, const std::vector<Index>& starts,
                                                  Index size);

// The one value that all `count` (> 0) voxels have, or nothing. NaN is never constant.
std::optional<float> ConstantValue(const float* window, Index count);

// The axis with the most voxels, the last of them on a tie: the ring of open slices runs along it.
int LongestAxis(const Size3& size);

// Size of the buffer that holds the open slices of a grid: window + 1 along the longest axis, at most the grid.
Size3 RingSize(const Size3& size, const Size3& window);

}  // namespace cmc::core

#endif  // CMC_CORE_WINDOWS_H_
