#include "cmc_core/windows.h"

#include <algorithm>
#include <cmath>
#include <stdexcept>
#include <string>

namespace cmc::core {

std::vector<Index> AxisStarts(Index size, Index window, double overlap) {
  if (size < 1 || window < 1) throw std::invalid_argument("windows: sizes must be positive");
  if (!(overlap >= 0.0 && overlap < 1.0)) {
    throw std::invalid_argument("windows: overlap " + std::to_string(overlap) + " is not in [0, 1)");
  }
  if (size <= window) return {-((window - size) / 2)};
  const Index step = std::max<Index>(1, static_cast<Index>(static_cast<double>(window) * (1.0 - overlap)));
  const Index last = size - window;
  std::vector<Index> starts;
  for (Index start = 0; start < last; start += step) starts.push_back(start);
  starts.push_back(last);
  return starts;
}

std::vector<Size3> WindowStarts(const Size3& size, const Size3& window, double overlap) {
  std::array<std::vector<Index>, 3> axes;
  for (int axis = 0; axis < 3; ++axis) axes[axis] = AxisStarts(size[axis], window[axis], overlap);
  std::vector<Size3> starts;
  starts.reserve(axes[0].size() * axes[1].size() * axes[2].size());
  for (const Index x : axes[0]) {
    for (const Index y : axes[1]) {
      for (const Index z : axes[2]) starts.push_back({x, y, z});
    }
  }
  return starts;
}

std::array<std::vector<float>, 3> GaussianAxes(const Size3& window, double sigma_scale) {
  std::array<std::vector<float>, 3> profiles;
  for (int axis = 0; axis < 3; ++axis) {
    const auto count = static_cast<double>(window[axis]);
    for (Index i = 0; i < window[axis]; ++i) {
      const double distance = (static_cast<double>(i) - (count - 1.0) / 2.0) / (sigma_scale * count);
      profiles[axis].push_back(static_cast<float>(std::max(std::exp(-0.5 * distance * distance), 1e-6)));
    }
  }
  return profiles;
}

std::map<Index, std::vector<float>> BlendProfiles(const std::vector<float>& profile, const std::vector<Index>& starts,
                                                  Index size) {
  const auto window = static_cast<Index>(profile.size());
  std::vector<double> total(size, 0.0);
  for (const Index start : starts) {
    for (Index i = std::max<Index>(start, 0); i < std::min(start + window, size); ++i) {
      total[i] += static_cast<double>(profile[i - start]);
    }
  }
  std::map<Index, std::vector<float>> divided;
  for (const Index start : starts) {
    std::vector<float>& weights = divided[start];
    weights.clear();
    for (Index i = std::max<Index>(start, 0); i < std::min(start + window, size); ++i) {
      const auto weight = static_cast<double>(profile[i - start]);
      weights.push_back(static_cast<float>(weight / total[i]));
    }
  }
  return divided;
}

std::optional<float> ConstantValue(const float* window, Index count) {
  const float first = window[0];
  // Most windows differ early: a thin sample decides before the whole window is read.
  const Index stride = std::max<Index>(1, count / 4096);
  for (Index i = 0; i < count; i += stride) {
    if (window[i] != first) return std::nullopt;
  }
  constexpr Index kBlock = 1024;
  for (Index start = 0; start < count; start += kBlock) {
    const Index end = std::min(start + kBlock, count);
    int different = 0;
    for (Index i = start; i < end; ++i) different |= window[i] != first;
    if (different != 0) return std::nullopt;
  }
  return first;
}

int LongestAxis(const Size3& size) {
  int longest = 0;
  for (int axis = 1; axis < 3; ++axis) {
    if (size[axis] >= size[longest]) longest = axis;
  }
  return longest;
}

Size3 RingSize(const Size3& size, const Size3& window) {
  const int axis = LongestAxis(size);
  Size3 ring = size;
  ring[axis] = std::min(size[axis], window[axis] + 1);
  return ring;
}

}  // namespace cmc::core
