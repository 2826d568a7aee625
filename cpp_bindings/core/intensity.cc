#include "cmc_core/intensity.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <optional>
#include <vector>

#include "cmc_core/memory_order.h"
#include "cmc_core/voxels.h"

namespace cmc::core {
namespace {

constexpr Index kSlabVoxels = Index{1} << 18;
constexpr Index kChunk = 4096;  // voxels that are looked at together: their true values stay in the first cache
constexpr int kLanes = 8;       // sums that run side by side, so that the compiler can vectorise them
constexpr Index kBorder = 20;   // of so many voxels of the outer faces one may hold another value than the border

// What counts as foreground, and how far it is clipped.
struct Sieve {
  bool has_border = false;
  float border = 0.0f;
  bool has_clip = false;
  float low = 0.0f;
  float high = 0.0f;

  bool Foreground(float value) const { return has_border ? value != border : value > 0.0f; }
};

// Figures of a part of the volume. Axes of the box are those of memory, the fastest first.
struct Tally {
  float minimum = std::numeric_limits<float>::infinity();
  float maximum = -std::numeric_limits<float>::infinity();
  double total = 0.0;
  Index count = 0;  // foreground
  double raw_sum = 0.0;
  double mean = 0.0;     // of the clipped foreground
  double squares = 0.0;  // summed squared distances from it
  Size3 first{std::numeric_limits<Index>::max(), std::numeric_limits<Index>::max(), std::numeric_limits<Index>::max()};
  Size3 end{};

  // Merges means and squares by the formula of Chan, Golub and LeVeque.
  void AddMoments(Index other_count, double other_mean, double other_squares) {
    if (other_count == 0) return;
    const double sum = static_cast<double>(count + other_count);
    const double share = static_cast<double>(other_count) / sum;
    const double delta = other_mean - mean;
    squares += other_squares + delta * delta * static_cast<double>(count) * share;
    mean += delta * share;
    count += other_count;
  }

  void Add(const Tally& other) {
    minimum = std::min(minimum, other.minimum);
    maximum = std::max(maximum, other.maximum);
    total += other.total;
    raw_sum += other.raw_sum;
    AddMoments(other.count, other.mean, other.squares);
    for (int axis = 0; axis < 3; ++axis) {
      first[axis] = std::min(first[axis], other.first[axis]);
      end[axis] = std::max(end[axis], other.end[axis]);
    }
  }
};

// The sum of value(i) for i in [0, count), in a fixed order.
template <typename Value>
double Sum(Index count, Value value) {
  double sums[kLanes] = {};
  Index i = 0;
  for (; i + kLanes <= count; i += kLanes) {
    for (int lane = 0; lane < kLanes; ++lane) sums[lane] += value(i + lane);
  }
  for (int lane = 0; i < count; ++i, ++lane) sums[lane] += value(i);
  double sum = 0.0;
  for (const double part : sums) sum += part;
  return sum;
}

void Extremes(const float* values, Index count, Tally* tally) {
  float low[kLanes], high[kLanes];
  std::fill_n(low, kLanes, tally->minimum);
  std::fill_n(high, kLanes, tally->maximum);
  Index i = 0;
  for (; i + kLanes <= count; i += kLanes) {
    for (int lane = 0; lane < kLanes; ++lane) {
      const float value = values[i + lane];
      low[lane] = value < low[lane] ? value : low[lane];
      high[lane] = value > high[lane] ? value : high[lane];
    }
  }
  for (; i < count; ++i) {
    low[0] = std::min(low[0], values[i]);
    high[0] = std::max(high[0], values[i]);
  }
  tally->minimum = *std::min_element(low, low + kLanes);
  tally->maximum = *std::max_element(high, high + kLanes);
}

// Adds `count` (<= kChunk) voxels; returns how many are foreground. `Foreground` is a type, so that the choice between
// the two kinds of foreground is not made for every voxel.
template <typename Foreground>
Index AddValues(const float* values, Index count, const Sieve& sieve, Foreground foreground, Tally* tally) {
  // A sum of floats cannot overflow in double: it is finite exactly if they all are.
  const double total = Sum(count, [&](Index i) { return static_cast<double>(values[i]); });
  tally->total += total;
  if (!std::isfinite(total)) return 0;
  Extremes(values, count, tally);

  // Factors of 1 and 0 instead of branches: noise is foreground at random, which no processor foresees.
  float inside[kChunk];
  for (Index i = 0; i < count; ++i) inside[i] = foreground(values[i]) ? 1.0f : 0.0f;
  const auto found = static_cast<Index>(Sum(count, [&](Index i) { return static_cast<double>(inside[i]); }));
  if (found == 0) return 0;
  float kept[kChunk];
  for (Index i = 0; i < count; ++i) kept[i] = inside[i] * values[i];
  double sum = Sum(count, [&](Index i) { return static_cast<double>(kept[i]); });
  tally->raw_sum += sum;
  if (sieve.has_clip) {
    const float low = sieve.low;
    const float high = sieve.high;
    for (Index i = 0; i < count; ++i) {
      float value = values[i] < low ? low : values[i];
      value = value > high ? high : value;
      kept[i] = inside[i] * value;
    }
    sum = Sum(count, [&](Index i) { return static_cast<double>(kept[i]); });
  }
  const double mean = sum / static_cast<double>(found);
  const double squares = Sum(count, [&](Index i) {
    const double distance = static_cast<double>(kept[i]) - mean;
    return static_cast<double>(inside[i]) * (distance * distance);
  });
  tally->AddMoments(found, mean, squares);
  return found;
}

// Grows the box by a row of values that begins at `place`. Only what lies outside the box as it is needs a look.
void GrowBox(const float* values, Index count, const Size3& place, const Sieve& sieve, Tally* tally) {
  const auto find = [&](Index begin, Index end, Index step) {
    for (Index i = begin; i != end; i += step) {
      if (sieve.Foreground(values[i])) return i;
    }
    return Index{-1};
  };
  const Index begin = place[0];
  const bool known = tally->first[1] <= place[1] && place[1] < tally->end[1] && tally->first[2] <= place[2] &&
                     place[2] < tally->end[2];
  const Index before = known ? std::clamp<Index>(tally->first[0] - begin, 0, count) : count;
  const Index first = find(0, before, 1);
  if (first < 0 && !known) return;
  if (first >= 0) tally->first[0] = std::min(tally->first[0], begin + first);
  const Index last = find(count - 1, std::clamp<Index>(tally->end[0] - begin, 0, count) - 1, -1);
  if (last >= 0) tally->end[0] = std::max(tally->end[0], begin + last + 1);
  for (int axis = 1; axis < 3; ++axis) {
    tally->first[axis] = std::min(tally->first[axis], place[axis]);
    tally->end[axis] = std::max(tally->end[axis], place[axis] + 1);
  }
}

// The volume with its axes in the order of memory.
struct Layout {
  std::array<int, 3> order{};
  Size3 size{};
  Size3 strides{};
};

Layout LayoutOf(const VolumeView& volume) {
  Layout layout;
  layout.order = MemoryOrder(volume.size, volume.strides);
  for (int axis = 0; axis < 3; ++axis) {
    layout.size[axis] = volume.size[layout.order[axis]];
    layout.strides[axis] = volume.strides[layout.order[axis]];
  }
  return layout;
}

// Figures of the planes [begin, end) along the slowest axis.
template <typename T>
Tally TallySlab(const VolumeView& volume, const Layout& layout, const Sieve& sieve, Index begin, Index end) {
  const Scaling scaling(volume);
  const Index width = layout.size[0];
  const Index height = layout.size[1];
  const Index part = std::min(width, kChunk);             // of a row
  const Index rows = std::max<Index>(1, kChunk / width);  // short rows are looked at together
  float values[kChunk];
  Tally tally;
  for (Index z = begin; z < end; ++z) {
    for (Index y = 0; y < height; y += rows) {
      const Index taken = std::min(rows, height - y);
      for (Index x = 0; x < width; x += part) {
        const Index count = std::min(part, width - x);
        for (Index row = 0; row < taken; ++row) {
          const std::byte* place =
              volume.data + x * layout.strides[0] + (y + row) * layout.strides[1] + z * layout.strides[2];
          ReadRow<T>(place, layout.strides[0], count, scaling, 0.0f, values + row * count);
        }
        const float border = sieve.border;
        const Index found = sieve.has_border
                                ? AddValues(
                                      values, taken * count, sieve, [border](float v) { return v != border; }, &tally)
                                : AddValues(
                                      values, taken * count, sieve, [](float v) { return v > 0.0f; }, &tally);
        if (found == 0) continue;
        for (Index row = 0; row < taken; ++row) {
          GrowBox(values + row * count, count, {x, y + row, z}, sieve, &tally);
        }
      }
    }
  }
  return tally;
}

// Calls visit(value) for every voxel of the outer faces, those of an edge once for each of its faces; false ends it. An
// axis of one or two voxels has no inside, so no faces either.
template <typename T, typename Visit>
void EachFaceVoxel(const VolumeView& volume, const Layout& layout, Visit visit) {
  for (int axis = 2; axis >= 0; --axis) {
    if (layout.size[axis] < 3) continue;
    const int fast = axis == 0 ? 1 : 0;
    const int slow = 3 - axis - fast;
    for (const Index face : {Index{0}, layout.size[axis] - 1}) {
      const std::byte* plane = volume.data + face * layout.strides[axis];
      for (Index j = 0; j < layout.size[slow]; ++j) {
        const std::byte* row = plane + j * layout.strides[slow];
        for (Index i = 0; i < layout.size[fast]; ++i) {
          if (!visit(Load<T>(row + i * layout.strides[fast]))) return;
        }
      }
    }
  }
}

// The one value that the outer faces hold; where a body touches them, up to one voxel in kBorder may differ.
template <typename T>
std::optional<T> BorderValue(const VolumeView& volume, const Layout& layout) {
  // A value that more than half of the voxels hold is what remains when each cancels one of another value.
  std::optional<T> value;
  Index ahead = 0;
  Index voxels = 0;
  EachFaceVoxel<T>(volume, layout, [&](T found) {
    ++voxels;
    if (ahead > 0) {
      ahead += found == *value ? 1 : -1;
    } else {
      value = found;
      ahead = 1;
    }
    return true;
  });
  if (!value) return std::nullopt;
  const Index allowed = voxels / kBorder;
  Index others = 0;
  EachFaceVoxel<T>(volume, layout, [&](T found) {
    if (!(found == *value)) ++others;
    return others <= allowed;
  });
  return others <= allowed ? value : std::nullopt;
}

template <typename T>
Tally TallyVolume(const VolumeView& volume, const Layout& layout, const Sieve& sieve, Threads& threads) {
  const Index plane = layout.size[0] * layout.size[1];
  const Index step = std::max<Index>(1, kSlabVoxels / plane);
  const Index slabs = (layout.size[2] + step - 1) / step;
  std::vector<Tally> tallies(slabs);
  threads.Run(slabs, [&](Index slab, int) {
    const Index begin = slab * step;
    tallies[slab] = TallySlab<T>(volume, layout, sieve, begin, std::min(begin + step, layout.size[2]));
  });
  Tally sum;
  for (const Tally& tally : tallies) sum.Add(tally);
  return sum;
}

IntensityStatistics NotFinite(const VolumeView& volume) {
  constexpr double kNan = std::numeric_limits<double>::quiet_NaN();
  IntensityStatistics result;
  result.finite = false;
  result.background = result.mean = result.std = result.minimum = result.maximum = kNan;
  result.foreground_fraction = result.foreground_mean = kNan;
  result.body_box = {Size3{0, 0, 0}, volume.size};
  return result;
}

template <typename T>
IntensityStatistics StatisticsOf(const VolumeView& volume, const IntensityRule& rule, Threads& threads) {
  const Layout layout = LayoutOf(volume);
  const std::optional<T> border = BorderValue<T>(volume, layout);
  Sieve sieve;
  sieve.has_border = border.has_value();
  if (border) sieve.border = Scaling(volume)(*border);
  sieve.has_clip = rule.has_clip;
  sieve.low = static_cast<float>(rule.clip_low);
  sieve.high = static_cast<float>(rule.clip_high);
  const Tally tally = TallyVolume<T>(volume, layout, sieve, threads);
  if (!std::isfinite(tally.total)) return NotFinite(volume);

  IntensityStatistics result;
  const auto voxels = static_cast<double>(Count(volume.size));
  const auto count = static_cast<double>(tally.count);
  result.has_border = border.has_value();
  result.minimum = static_cast<double>(tally.minimum);
  result.maximum = static_cast<double>(tally.maximum);
  result.background = border ? static_cast<double>(sieve.border) : result.minimum;
  result.foreground_fraction = count / voxels;
  if (tally.count > 0) {
    result.mean = tally.mean;
    result.std = std::sqrt(std::max(0.0, tally.squares / count));
    result.foreground_mean = tally.raw_sum / count;
    for (int axis = 0; axis < 3; ++axis) {
      result.body_box[0][layout.order[axis]] = tally.first[axis];
      result.body_box[1][layout.order[axis]] = tally.end[axis];
    }
  } else {
    result.mean = result.background;
    if (rule.has_clip) result.mean = std::min(std::max(result.mean, rule.clip_low), rule.clip_high);
    result.foreground_mean = tally.total / voxels;
    result.body_box = {Size3{0, 0, 0}, volume.size};
  }
  return result;
}

}  // namespace

IntensityStatistics Statistics(const VolumeView& volume, const IntensityRule& rule, Threads& threads) {
  CheckVolume(volume);
  return WithType(volume.dtype,
                  [&](auto type) { return StatisticsOf<typename decltype(type)::Stored>(volume, rule, threads); });
}

void Normalise(float* values, Index count, const IntensityRule& rule, const IntensityStatistics& statistics) {
  if (rule.has_clip) {
    const auto low = static_cast<float>(rule.clip_low);
    const auto high = static_cast<float>(rule.clip_high);
    for (Index i = 0; i < count; ++i) {
      const float value = values[i] < low ? low : values[i];
      values[i] = value > high ? high : value;
    }
  }
  const bool unit = rule.scale == Scale::kUnitRange && rule.has_clip;
  const double spread = statistics.std > 0.0 ? statistics.std : 1.0;
  const auto shift = static_cast<float>(unit ? rule.clip_low : statistics.mean);
  const auto divisor = static_cast<float>(unit ? rule.clip_high - rule.clip_low : spread);
  for (Index i = 0; i < count; ++i) values[i] = (values[i] - shift) / divisor;
}

}  // namespace cmc::core
