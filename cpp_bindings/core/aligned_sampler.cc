#include "cmc_core/aligned_sampler.h"

#include <algorithm>
#include <utility>

#include "cmc_core/memory_order.h"
#include "cmc_core/raw_buffer.h"
#include "cmc_core/voxels.h"

namespace cmc::core {
namespace {

// Sides of a block. Its sums (kMostSums floats) should stay in the second cache; a block that is long along the slow
// axes reads few source voxels twice.
constexpr Index kMostFast = 512;
constexpr Index kMostMiddle = 64;
constexpr Index kMostSlow = 16;
constexpr Index kMostPlane = Index{1} << 16;
constexpr Index kMostSums = Index{1} << 18;

// The axes of the grid by the source's axes in the order of memory.
std::array<int, 3> GridAxes(const AxisMap& map, const std::array<int, 3>& source_axis) {
  std::array<int, 3> grid_axis{};
  for (int place = 0; place < 3; ++place) {
    for (int axis = 0; axis < 3; ++axis) {
      if (map.target_axis[axis] == source_axis[place]) grid_axis[place] = axis;
    }
  }
  return grid_axis;
}

// sums[i] += weight * values[i]
void AddRow(const float* values, float weight, Index count, float* __restrict sums) {
  for (Index i = 0; i < count; ++i) sums[i] += weight * values[i];
}

template <int kTaps>
void ReduceRow(const float* row, const TentAxis& axis, Index source, Index begin, Index end, float* out) {
  for (Index sample = begin; sample < end; ++sample) {
    const float* values = row + axis.first(sample) - source;
    const float* weights = axis.weights(sample);
    float sum = weights[0] * values[0];
    for (int tap = 1; tap < kTaps; ++tap) sum += weights[tap] * values[tap];
    out[sample - begin] = sum;
  }
}

// out = samples [begin, end) of a row that begins at source voxel `source`.
void ReduceRow(const float* row, const TentAxis& axis, Index source, Index begin, Index end, float* out) {
  switch (axis.taps()) {
    case 2:
      return ReduceRow<2>(row, axis, source, begin, end, out);
    case 3:
      return ReduceRow<3>(row, axis, source, begin, end, out);
    case 4:
      return ReduceRow<4>(row, axis, source, begin, end, out);
    default:
      break;
  }
  for (Index sample = begin; sample < end; ++sample) {
    const float* values = row + axis.first(sample) - source;
    const float* weights = axis.weights(sample);
    float sum = 0.0f;
    for (Index tap = 0; tap < axis.taps(); ++tap) sum += weights[tap] * values[tap];
    out[sample - begin] = sum;
  }
}

}  // namespace

// Samples [begin, end) by axis, the fastest first.
struct AlignedSampler::Block {
  Size3 begin{};
  Size3 end{};

  Index size(int place) const { return end[place] - begin[place]; }
};

AlignedSampler::AlignedSampler(const VolumeView& volume, const AxisMap& map, const Point3& half_width,
                               const GridBox& grid, const Size3& largest)
    : volume_(volume),
      origin_(grid.start),
      source_axis_(MemoryOrder(volume.size, volume.strides)),
      grid_axis_(GridAxes(map, source_axis_)),
      axes_([&] {
        const auto make = [&](int place) {
          const int axis = grid_axis_[place];
          const int source = source_axis_[place];
          return TentAxis(map, axis, grid.start[axis], grid.size[axis], half_width[source], volume.size[source]);
        };
        return std::array<TentAxis, 3>{make(0), make(1), make(2)};
      }()) {
  block_[0] = EqualPart(largest[grid_axis_[0]], kMostFast);
  const Index samples = grid.size[grid_axis_[0]];
  for (Index begin = 0; begin < samples; ++begin) {
    const auto [first, end] = axes_[0].Span(begin, std::min(begin + block_[0], samples));
    width_ = std::max(width_, end - first);
  }
  const Index rows = std::clamp<Index>(kMostPlane / std::max<Index>(width_, 1), 1, kMostMiddle);
  block_[1] = EqualPart(largest[grid_axis_[1]], rows);
  const Index planes = std::clamp<Index>(kMostSums / (block_[0] * block_[1]), 1, kMostSlow);
  block_[2] = EqualPart(largest[grid_axis_[2]], planes);
}

Index AlignedSampler::Scratch() const {
  return width_ + block_[1] * width_ + block_[0] + block_[0] * block_[1] * block_[2];
}

// Leaves the sums of true values less `background` at the front of `scratch`, the fastest axis varying first.
template <typename T>
void AlignedSampler::Reduce(const Block& block, float background, float* scratch) const {
  const auto& [fast, middle, slow] = axes_;
  const Index plane_sums = block.size(0) * block.size(1);
  float* sums = scratch;
  float* line = sums + plane_sums * block.size(2);
  float* row = line + block.size(0);
  float* plane = row + width_;
  std::fill_n(sums, plane_sums * block.size(2), 0.0f);
  const auto [fast_begin, fast_end] = fast.Span(block.begin[0], block.end[0]);
  const auto [middle_begin, middle_end] = middle.Span(block.begin[1], block.end[1]);
  const auto [slow_begin, slow_end] = slow.Span(block.begin[2], block.end[2]);
  const Index width = fast_end - fast_begin;
  if (width == 0 || middle_begin == middle_end) return;

  // The samples of a block that a source voxel adds to.
  const auto shares = [&](const TentAxis& axis, int place, Index source) {
    const TentAxis::Share* first = axis.begin(source);
    const TentAxis::Share* end = axis.end(source);
    while (first != end && first->sample < block.begin[place]) ++first;
    while (first != end && (end - 1)->sample >= block.end[place]) --end;
    return std::pair(first, end);
  };
  const Scaling scaling(volume_);
  const Index stride = volume_.strides[source_axis_[0]];
  for (Index z = slow_begin; z < slow_end; ++z) {
    const auto [planes_first, planes_end] = shares(slow, 2, z);
    if (planes_first == planes_end) continue;
    std::fill_n(plane, block.size(1) * width, 0.0f);
    for (Index y = middle_begin; y < middle_end; ++y) {
      const auto [rows_first, rows_end] = shares(middle, 1, y);
      if (rows_first == rows_end) continue;
      const std::byte* voxels = volume_.data + fast_begin * stride + y * volume_.strides[source_axis_[1]] +
                                z * volume_.strides[source_axis_[2]];
      ReadRow<T>(voxels, stride, width, scaling, background, row);
      for (const auto* share = rows_first; share != rows_end; ++share) {
        AddRow(row, share->weight, width, plane + (share->sample - block.begin[1]) * width);
      }
    }
    for (Index y = 0; y < block.size(1); ++y) {
      ReduceRow(plane + y * width, fast, fast_begin, block.begin[0], block.end[0], line);
      for (const auto* share = planes_first; share != planes_end; ++share) {
        AddRow(line, share->weight, block.size(0),
               sums + (share->sample - block.begin[2]) * plane_sums + y * block.size(0));
      }
    }
  }
}

void AlignedSampler::Sample(const GridBox& box, const Destination& out, const Finish& finish, Threads& threads,
                            std::pmr::memory_resource* memory) const {
  Size3 start{}, size{}, parts{};
  for (int place = 0; place < 3; ++place) {
    start[place] = box.start[grid_axis_[place]] - origin_[grid_axis_[place]];
    size[place] = box.size[grid_axis_[place]];
    parts[place] = (size[place] + block_[place] - 1) / block_[place];
  }
  const Index scratch_size = Scratch();
  RawBuffer<float> scratch(scratch_size * threads.count(), memory);
  threads.Run(Count(parts), [&](Index task, int thread) {
    const Size3 part{task % parts[0], task / parts[0] % parts[1], task / parts[0] / parts[1]};
    Block block;
    GridBox stored;
    Size3 strides{};
    Index stride = 1;
    for (int place = 0; place < 3; ++place) {
      const Index begin = part[place] * block_[place];
      const Index end = std::min(begin + block_[place], size[place]);
      block.begin[place] = start[place] + begin;
      block.end[place] = start[place] + end;
      stored.start[grid_axis_[place]] = begin;
      stored.size[grid_axis_[place]] = end - begin;
      strides[grid_axis_[place]] = stride;
      stride *= end - begin;
    }
    float* sums = scratch.data() + thread * scratch_size;
    WithType(volume_.dtype,
             [&](auto type) { Reduce<typename decltype(type)::Stored>(block, finish.background, sums); });
    finish(sums, Count(stored.size));
    out.Store(stored, sums, strides);
  });
}

}  // namespace cmc::core
