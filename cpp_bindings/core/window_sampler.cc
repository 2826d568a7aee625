#include <algorithm>
#include <cstring>
#include <stdexcept>
#include <string>

#include "cmc_core/grid_sampler.h"
#include "cmc_core/raw_buffer.h"
#include "cmc_core/sampled_box.h"
#include "cmc_core/sampling.h"
#include "cmc_core/windows.h"

namespace cmc::core {
namespace {

// Which slices of which grid are sampled and held.
struct Plan {
  int axis = 0;     // the ring runs along it
  GridBox grid;     // the model grid, grown to hold every window
  Size3 ring{};     // voxels that are held: as many slices as a window has
  Size3 strides{};  // of the ring, in C order

  Plan(const ModelGrid& model, const Size3& window, const std::vector<Size3>& starts) : axis(LongestAxis(model.size)) {
    if (starts.empty() || Count(window) < 1) throw std::invalid_argument("windows: none given");
    Size3 end = model.size;
    for (const Size3& start : starts) {
      for (int a = 0; a < 3; ++a) {
        grid.start[a] = std::min(grid.start[a], start[a]);
        end[a] = std::max(end[a], start[a] + window[a]);
      }
    }
    for (int a = 0; a < 3; ++a) ring[a] = grid.size[a] = end[a] - grid.start[a];
    ring[axis] = window[axis];
    strides = {ring[1] * ring[2], ring[2], 1};
  }

  // Where a slice is held, in floats from the ring's front.
  Index Place(Index slice) const { return (slice - grid.start[axis]) % ring[axis] * strides[axis]; }
};

}  // namespace

struct WindowSampler::State {
  State(const VolumeView& volume, const ModelGrid& model, const Size3& window_size, const std::vector<Size3>& starts,
        const IntensityRule& intensity_rule, const IntensityStatistics& intensity_statistics,
        std::pmr::memory_resource* memory_resource)
      : plan(model, window_size, starts),
        window(window_size),
        rule(intensity_rule),
        statistics(intensity_statistics),
        memory(memory_resource),
        sampler(volume, model.affine_mm, plan.grid, plan.ring),
        ring(Count(plan.ring), memory_resource),
        row(plan.grid.start[plan.axis]),
        sampled(plan.grid.start[plan.axis]) {}

  // Samples slices [begin, end) along the ring's axis and normalises them.
  void Fill(Index begin, Index end, Threads& threads) {
    GridBox slab = plan.grid;
    slab.start[plan.axis] = begin;
    slab.size[plan.axis] = end - begin;
    Destination out = Destination::Whole(ring.data(), plan.ring);
    for (Index slice = begin; slice < end; ++slice) out.offsets[plan.axis][slice - begin] = plan.Place(slice);
    Finish finish;
    finish.background = static_cast<float>(statistics.background);
    finish.rule = &rule;
    finish.statistics = &statistics;
    sampler.Sample(slab, out, finish, threads, memory);
  }

  // Copies the window at `start`, whose slices are all held.
  void Copy(const Size3& start, float* out, Threads& threads) const {
    const auto place = [&](int axis, Index index) {
      return axis == plan.axis ? plan.Place(index) : (index - plan.grid.start[axis]) * plan.strides[axis];
    };
    // Along the last axis voxels lie side by side, except where the ring begins anew.
    const Index first = place(2, start[2]);
    const Index before = plan.axis == 2 ? std::min(window[2], plan.ring[2] - first) : window[2];
    threads.Run(window[0], [&](Index x, int) {
      float* row_out = out + x * window[1] * window[2];
      for (Index y = 0; y < window[1]; ++y, row_out += window[2]) {
        const float* from = ring.data() + place(0, start[0] + x) + place(1, start[1] + y);
        std::copy_n(from + first, before, row_out);
        std::copy_n(from, window[2] - before, row_out + before);
      }
    });
  }

  const Plan plan;
  const Size3 window;
  const IntensityRule rule;
  const IntensityStatistics statistics;
  std::pmr::memory_resource* const memory;
  const GridSampler sampler;
  RawBuffer<float> ring;
  Index row;      // where the last window began along the ring's axis
  Index sampled;  // slices below are sampled
};

WindowSampler::WindowSampler(const VolumeView& volume, const ModelGrid& grid, const Size3& window,
                             const std::vector<Size3>& starts, const IntensityRule& rule,
                             const IntensityStatistics& statistics, std::pmr::memory_resource* memory)
    : state_(std::make_unique<State>(volume, grid, window, starts, rule, statistics, memory)) {}

WindowSampler::~WindowSampler() = default;

std::optional<float> WindowSampler::Window(const Size3& start, float* out, Threads& threads) {
  State& state = *state_;
  const GridBox& grid = state.plan.grid;
  const int axis = state.plan.axis;
  for (int a = 0; a < 3; ++a) {
    if (start[a] < grid.start[a] || start[a] + state.window[a] > grid.start[a] + grid.size[a]) {
      throw std::invalid_argument("windows: the start " + std::to_string(start[a]) + " along axis " +
                                  std::to_string(a) + " is none of those planned");
    }
  }
  if (start[axis] < state.row) throw std::invalid_argument("windows: one comes after its slices were dropped");
  state.row = start[axis];
  const Index begin = std::max(state.sampled, start[axis]);
  const Index end = start[axis] + state.window[axis];
  if (begin < end) {
    state.Fill(begin, end, threads);
    state.sampled = end;
  }
  state.Copy(start, out, threads);
  return ConstantValue(out, Count(state.window));
}

Index WindowSampler::Bytes(const VolumeView& volume, const ModelGrid& grid, const Size3& window,
                           const std::vector<Size3>& starts, int threads) {
  const Plan plan(grid, window, starts);
  const GridSampler sampler(volume, grid.affine_mm, plan.grid, plan.ring);
  return static_cast<Index>(sizeof(float)) * (Count(plan.ring) + threads * sampler.Scratch());
}

}  // namespace cmc::core
