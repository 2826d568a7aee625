#include "cmc_core/oblique_sampler.h"

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <cstring>

#include "cmc_core/memory_order.h"
#include "cmc_core/raw_buffer.h"
#include "cmc_core/tent.h"
#include "cmc_core/voxels.h"

namespace cmc::core {
namespace {

constexpr Index kMostSide = 16;                // of a brick
constexpr Index kMostVoxels = Index{1} << 19;  // source voxels that are held at once
constexpr double kSlack = 1e-5;                // more than positions are moved by rounding

// Four floats that are added and multiplied lane by lane.
constexpr Index kLanes = 4;
using Lanes = float __attribute__((vector_size(kLanes * sizeof(float))));

Lanes LoadLanes(const float* from) {
  Lanes lanes;
  std::memcpy(&lanes, from, sizeof(lanes));
  return lanes;
}

// RoundPosition without a call, so that the compiler can vectorise it: adding and taking away 1.5 * 2^52 rounds to
// whole numbers, halves to even. Beyond 2^51 it rounds to coarser ones, which are just as far outside of any scan.
double RoundFast(double value) {
  constexpr double kWhole = 6755399441055744.0;
  return ((value * 1e6 + kWhole) - kWhole) / 1e6;
}

// floor for values within 32-bit integers, likewise.
std::int32_t FloorFast(double value) {
  const auto whole = static_cast<std::int32_t>(value);
  return whole - (static_cast<double>(whole) > value ? 1 : 0);
}

// The weighted sum of one sample's neighbours from `voxels` on; weights are `kMostSide` apart. `kMiddle` is the number
// of taps along the second axis, or 0 if it is only known at run time.
template <int kMiddle>
float SumTaps(const float* voxels, Index row_size, Index plane_size, const Size3& taps,
              const std::array<const float*, 3>& weights) {
  const Index middle = kMiddle > 0 ? kMiddle : taps[1];
  float sum = 0.0f;
  for (Index group = 0; group < taps[0]; group += kLanes) {
    Lanes total{};
    for (Index z = 0; z < taps[2]; ++z) {
      const float* plane = voxels + z * plane_size + group;
      Lanes part{};
      for (Index y = 0; y < middle; ++y) part += LoadLanes(plane + y * row_size) * weights[1][y * kMostSide];
      total += part * weights[2][z * kMostSide];
    }
    for (Index lane = 0; lane < kLanes; ++lane) sum += total[lane] * weights[0][(group + lane) * kMostSide];
  }
  return sum;
}

}  // namespace

// The source voxels around a brick: [begin, end), edges beyond the volume included.
struct ObliqueSampler::Source {
  Size3 begin{};
  Size3 end{};

  Index size(int place) const { return end[place] - begin[place]; }
};

// Up to kMostSide samples along the grid's last axis.
struct ObliqueSampler::Row {
  std::array<double, kMostSide> inside;                      // 1 if a sample has a weight at all, else 0
  std::array<std::array<std::int32_t, kMostSide>, 3> first;  // its first neighbour, counted from the source's begin
  std::array<float*, 3> weights;                             // [tap][sample], kMostSide samples wide
};

ObliqueSampler::ObliqueSampler(const VolumeView& volume, const Matrix4& matrix, const Point3& half_width,
                               const Size3& largest)
    : volume_(volume), order_(MemoryOrder(volume.size, volume.strides)) {
  for (int place = 0; place < 3; ++place) {
    const int axis = order_[place];
    size_[place] = volume.size[axis];
    strides_[place] = volume.strides[axis];
    std::copy_n(matrix.begin() + 4 * axis, 4, rows_[place].begin());
    half_width_[place] = half_width[axis];
    taps_[place] = TentTaps(half_width[axis]);
  }
  taps_[0] = (taps_[0] + kLanes - 1) / kLanes * kLanes;
  // A brick as large as memory allows. Where even a single sample needs too much, it is read in parts.
  for (Index side = kMostSide; side >= 1; side /= 2) {
    for (int axis = 0; axis < 3; ++axis) brick_[axis] = std::min(side, largest[axis]);
    const Size3 extent = Extent(brick_);
    voxels_ = Count(extent);
    if (voxels_ <= kMostVoxels) return;
    voxels_ = std::max(kMostVoxels, extent[0] * extent[1]);
  }
}

Size3 ObliqueSampler::Extent(const Size3& side) const {
  Size3 extent{};
  for (int place = 0; place < 3; ++place) {
    double reach = 2.0 * kSlack;
    for (int axis = 0; axis < 3; ++axis) reach += std::abs(rows_[place][axis]) * static_cast<double>(side[axis] - 1);
    reach = std::min(reach, static_cast<double>(size_[place] - 1) + 2.0 * half_width_[place]);
    extent[place] = static_cast<Index>(std::ceil(reach)) + 1 + taps_[place];
  }
  return extent;
}

Index ObliqueSampler::Scratch() const { return Count(brick_) + voxels_ + (taps_[0] + taps_[1] + taps_[2]) * kMostSide; }

// Finds the source voxels that a brick may need; false if it lies wholly outside.
bool ObliqueSampler::Locate(const GridBox& brick, Source* source) const {
  for (int place = 0; place < 3; ++place) {
    double low = rows_[place][3] - kSlack;
    double high = rows_[place][3] + kSlack;
    for (int axis = 0; axis < 3; ++axis) {
      const double from = rows_[place][axis] * static_cast<double>(brick.start[axis]);
      const double to = rows_[place][axis] * static_cast<double>(brick.start[axis] + brick.size[axis] - 1);
      low += std::min(from, to);
      high += std::max(from, to);
    }
    const double half_width = half_width_[place];
    low = std::max(low, -half_width);
    high = std::min(high, static_cast<double>(size_[place] - 1) + half_width);
    if (!(low < high)) return false;
    source->begin[place] = static_cast<Index>(std::floor(low - half_width)) + 1;
    source->end[place] = static_cast<Index>(std::floor(high - half_width)) + 1 + taps_[place];
  }
  return true;
}

// Converts the slices [begin, end) along the slowest axis.
template <typename T>
void ObliqueSampler::Read(const Source& source, Index begin, Index end, float background, float* voxels) const {
  const Scaling scaling(volume_);
  const Index first = std::clamp<Index>(source.begin[0], 0, size_[0]);
  const Index last = std::clamp<Index>(source.end[0], first, size_[0]);
  for (Index z = begin; z < end; ++z) {
    for (Index y = source.begin[1]; y < source.end[1]; ++y, voxels += source.size(0)) {
      if (z < 0 || z >= size_[2] || y < 0 || y >= size_[1] || first == last) {
        std::fill_n(voxels, source.size(0), 0.0f);
        continue;
      }
      const std::byte* row = volume_.data + first * strides_[0] + y * strides_[1] + z * strides_[2];
      std::fill_n(voxels, first - source.begin[0], 0.0f);
      ReadRow<T>(row, strides_[0], last - first, scaling, background, voxels + (first - source.begin[0]));
      std::fill_n(voxels + (last - source.begin[0]), source.end[0] - last, 0.0f);
    }
  }
}

// Weights of kMostSide samples along the grid's last axis, from `start` on: always all of them, and without branches,
// so that the compiler can vectorise the loops; those beyond the brick are not used.
void ObliqueSampler::Weigh(const Source& source, const Size3& start, Row* row) const {
  row->inside.fill(1.0);
  for (int place = 0; place < 3; ++place) {
    const std::array<double, 4>& matrix = rows_[place];
    const double half_width = half_width_[place];
    const double low = -half_width;
    const double high = static_cast<double>(size_[place] - 1) + half_width;
    const double across = matrix[0] * static_cast<double>(start[0]) + matrix[1] * static_cast<double>(start[1]);
    const auto along = static_cast<double>(start[2]);
    const auto begin = static_cast<std::int32_t>(source.begin[place]);
    std::array<double, kMostSide> near;
    for (int i = 0; i < kMostSide; ++i) {
      const double position = RoundFast(across + matrix[2] * (along + i) + matrix[3]);
      row->inside[i] *= (position > low ? 1.0 : 0.0) * (position < high ? 1.0 : 0.0);
      near[i] = position < low ? low : position;
      near[i] = near[i] > high ? high : near[i];
    }
    std::array<float, kMostSide> fraction;  // distance from the first neighbour
    for (int i = 0; i < kMostSide; ++i) {
      const std::int32_t first = FloorFast(near[i] - half_width) + 1;
      row->first[place][i] = first - begin;
      fraction[i] = static_cast<float>(near[i] - static_cast<double>(first));
    }
    const auto slope = static_cast<float>(1.0 / half_width);
    const int taps = static_cast<int>(TentTaps(half_width));
    float* weights = row->weights[place];
    std::array<float, kMostSide> total{};
    for (int tap = 0; tap < taps; ++tap, weights += kMostSide) {
      const auto distance = static_cast<float>(tap);
      for (int i = 0; i < kMostSide; ++i) {
        const float weight = 1.0f - std::abs(distance - fraction[i]) * slope;
        weights[i] = weight > 0.0f ? weight : 0.0f;
        total[i] += weights[i];
      }
    }
    std::fill_n(weights, (taps_[place] - taps) * kMostSide, 0.0f);
    for (float& sum : total) sum = 1.0f / sum;
    weights = row->weights[place];
    for (int tap = 0; tap < taps; ++tap, weights += kMostSide) {
      for (int i = 0; i < kMostSide; ++i) weights[i] *= total[i];
    }
  }
}

// Leaves the sums of true values less `background` at the front of `scratch`, in C order.
template <typename T>
void ObliqueSampler::SumBrick(const GridBox& brick, float background, float* scratch) const {
  std::fill_n(scratch, Count(brick.size), 0.0f);
  Source source;
  if (!Locate(brick, &source)) return;
  float* voxels = scratch + Count(brick_);
  Row row;
  row.weights[0] = voxels + voxels_;
  row.weights[1] = row.weights[0] + taps_[0] * kMostSide;
  row.weights[2] = row.weights[1] + taps_[1] * kMostSide;
  const Index row_size = source.size(0);
  const Index plane_size = row_size * source.size(1);
  const Index slices = std::max<Index>(1, voxels_ / plane_size);
  for (Index begin = source.begin[2]; begin < source.end[2]; begin += slices) {
    const Index end = std::min(begin + slices, source.end[2]);
    Read<T>(source, begin, end, background, voxels);
    float* value = scratch;
    for (Index x = 0; x < brick.size[0]; ++x) {
      for (Index y = 0; y < brick.size[1]; ++y) {
        Weigh(source, {brick.start[0] + x, brick.start[1] + y, brick.start[2]}, &row);
        for (Index z = 0; z < brick.size[2]; ++z, ++value) {
          if (row.inside[z] == 0.0) continue;
          const Index first = source.begin[2] + row.first[2][z];
          const Index skipped = std::max<Index>(begin - first, 0);  // taps that another part has
          const Index taken = std::min(end - first, taps_[2]) - skipped;
          if (taken <= 0) continue;
          const float* from =
              voxels + row.first[0][z] + row.first[1][z] * row_size + (first + skipped - begin) * plane_size;
          const Size3 taps{taps_[0], taps_[1], taken};
          const std::array<const float*, 3> weights{row.weights[0] + z, row.weights[1] + z,
                                                    row.weights[2] + skipped * kMostSide + z};
          switch (taps_[1]) {
            case 2:
              *value += SumTaps<2>(from, row_size, plane_size, taps, weights);
              break;
            case 3:
              *value += SumTaps<3>(from, row_size, plane_size, taps, weights);
              break;
            case 4:
              *value += SumTaps<4>(from, row_size, plane_size, taps, weights);
              break;
            default:
              *value += SumTaps<0>(from, row_size, plane_size, taps, weights);
          }
        }
      }
    }
  }
}

void ObliqueSampler::Sample(const GridBox& box, const Destination& out, const Finish& finish, Threads& threads,
                            std::pmr::memory_resource* memory) const {
  Size3 parts{};
  for (int axis = 0; axis < 3; ++axis) parts[axis] = (box.size[axis] + brick_[axis] - 1) / brick_[axis];
  const Index scratch_size = Scratch();
  RawBuffer<float> scratch(scratch_size * threads.count(), memory);
  threads.Run(Count(parts), [&](Index task, int thread) {
    const Size3 part{task / parts[2] / parts[1], task / parts[2] % parts[1], task % parts[2]};
    GridBox stored;
    GridBox brick;
    for (int axis = 0; axis < 3; ++axis) {
      stored.start[axis] = part[axis] * brick_[axis];
      stored.size[axis] = std::min(brick_[axis], box.size[axis] - stored.start[axis]);
      brick.start[axis] = box.start[axis] + stored.start[axis];
    }
    brick.size = stored.size;
    float* values = scratch.data() + thread * scratch_size;
    WithType(volume_.dtype,
             [&](auto type) { SumBrick<typename decltype(type)::Stored>(brick, finish.background, values); });
    finish(values, Count(brick.size));
    out.Store(stored, values, {brick.size[1] * brick.size[2], brick.size[2], 1});
  });
}

}  // namespace cmc::core
