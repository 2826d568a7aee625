#include "cmc_core/tent.h"

#include <algorithm>
#include <cmath>

namespace cmc::core {

Point3 HalfWidths(const Matrix4& matrix) {
  Point3 half_width{};
  for (int row = 0; row < 3; ++row) {
    const double* entries = matrix.data() + 4 * row;
    const double length = std::sqrt(entries[0] * entries[0] + entries[1] * entries[1] + entries[2] * entries[2]);
    half_width[row] = std::max(1.0, RoundPosition(length));
  }
  return half_width;
}

Index TentTaps(double half_width) { return static_cast<Index>(std::ceil(2.0 * half_width)); }

TentAxis::TentAxis(const AxisMap& map, int axis, Index low, Index count, double half_width, Index size)
    : taps_(std::min(TentTaps(half_width), size)),
      first_(count),
      weights_(count * taps_, 0.0f),
      share_begin_(size + 1, 0) {
  const Index neighbours = TentTaps(half_width);
  std::vector<double> tent(neighbours);
  for (Index sample = 0; sample < count; ++sample) {
    const double position = map.Position(axis, low + sample);
    // Far away from the source the integers would run over; there is no weight there anyway.
    const double near = std::clamp(position, -1e9, 1e9);
    const Index first = static_cast<Index>(std::floor(near - half_width)) + 1;
    double total = 0.0;
    for (Index tap = 0; tap < neighbours; ++tap) {
      tent[tap] = std::max(0.0, 1.0 - std::abs(static_cast<double>(first + tap) - near) / half_width);
      total += tent[tap];
    }
    first_[sample] = std::clamp<Index>(first, 0, size - taps_);
    for (Index tap = 0; tap < neighbours; ++tap) {
      const Index source = first + tap;
      if (source < 0 || source >= size) continue;
      const auto weight = static_cast<float>(tent[tap] / total);
      weights_[sample * taps_ + source - first_[sample]] = weight;
      if (weight > 0.0f) ++share_begin_[source + 1];
    }
  }
  for (Index source = 0; source < size; ++source) share_begin_[source + 1] += share_begin_[source];
  shares_.resize(share_begin_[size]);
  std::vector<Index> next(share_begin_.begin(), share_begin_.end() - 1);
  for (Index sample = 0; sample < count; ++sample) {
    for (Index tap = 0; tap < taps_; ++tap) {
      const float weight = weights_[sample * taps_ + tap];
      if (weight > 0.0f) shares_[next[first_[sample] + tap]++] = {sample, weight};
    }
  }
}

std::pair<Index, Index> TentAxis::Span(Index begin, Index end) const {
  const float* weights_end = weights_.data() + end * taps_;
  if (std::all_of(weights_.data() + begin * taps_, weights_end, [](float w) { return w == 0.0f; })) return {0, 0};
  const auto [low, high] = std::minmax_element(first_.begin() + begin, first_.begin() + end);
  return {*low, *high + taps_};
}

}  // namespace cmc::core
