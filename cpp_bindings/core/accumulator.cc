#include "cmc_core/accumulator.h"

#include <algorithm>
#include <array>
#include <chrono>
#include <map>
#include <stdexcept>
#include <string>

#include "cmc_core/class_set.h"
#include "cmc_core/geometry.h"
#include "cmc_core/label_kernels.h"
#include "cmc_core/labelling.h"
#include "cmc_core/raw_buffer.h"
#include "cmc_core/ring.h"
#include "cmc_core/windows.h"

namespace cmc::core {
namespace {

LabellingPlan MakePlan(const ModelGrid& grid, const TargetView& target, int num_classes, const Size3& window,
                       const std::vector<Size3>& starts) {
  if (num_classes < 2 || num_classes > kMostClasses) {
    throw std::invalid_argument("accumulator: " + std::to_string(num_classes) + " classes given, 2 to " +
                                std::to_string(kMostClasses) + " are possible");
  }
  const auto check = [](const Size3& size, const char* name) {
    if (size[0] < 1 || size[1] < 1 || size[2] < 1) {
      throw std::invalid_argument(std::string("accumulator: the ") + name + " is empty");
    }
  };
  check(grid.size, "model grid");
  check(target.size, "target grid");
  check(window, "window");
  if (starts.empty()) throw std::invalid_argument("accumulator: no window is planned");
  LabellingPlan plan;
  plan.matrix = Multiply(Inverse(grid.affine_mm), target.affine_mm);
  plan.model_size = grid.size;
  plan.ring_size = RingSize(grid.size, window);
  plan.axis = LongestAxis(grid.size);
  plan.num_classes = num_classes;
  return plan;
}

// Floats of the ring: kernels may read beyond a row's end, the last one's too.
Index RingFloats(const LabellingPlan& plan) { return plan.num_classes * Count(plan.ring_size) + kChunk; }

std::string Text(const Size3& position) {
  return "(" + std::to_string(position[0]) + ", " + std::to_string(position[1]) + ", " + std::to_string(position[2]) +
         ")";
}

}  // namespace

struct Accumulator::State {
  State(const ModelGrid& grid, const TargetView& target, int num_classes, const Size3& window_size,
        const std::vector<Size3>& starts, std::pmr::memory_resource* memory)
      : plan(MakePlan(grid, target, num_classes, window_size, starts)),
        window(window_size),
        kernels(FindLabelKernels()),
        ring_floats(RingFloats(plan), memory),
        ring{ring_floats.data(), plan.ring_size, plan.axis},
        labelling(MakeLabelling(plan, target, memory)) {
    const std::array<std::vector<float>, 3> gaussian = GaussianAxes(window);
    for (int a = 0; a < 3; ++a) {
      std::vector<Index> along;
      for (const Size3& start : starts) along.push_back(start[a]);
      std::sort(along.begin(), along.end());
      along.erase(std::unique(along.begin(), along.end()), along.end());
      profiles[a] = BlendProfiles(gaussian[a], along, plan.model_size[a]);
    }
    row = profiles[plan.axis].begin()->first;
  }

  Index RingLength() const { return plan.ring_size[plan.axis]; }

  // Slices that the ring holds from now on become zero; those that it held keep their values.
  void Open(Index until, Threads& threads) {
    until = std::min(until, plan.model_size[plan.axis]);
    if (until <= opened) return;
    GridBox slices{{0, 0, 0}, plan.model_size};
    slices.start[plan.axis] = opened;
    slices.size[plan.axis] = until - opened;
    const std::array<RingPart, 2> parts = SplitBox(ring, slices);
    const Size3 strides = ring.Strides();
    const Index planes = parts[0].size[0] + (plan.axis == 0 ? parts[1].size[0] : 0);
    threads.Run(plan.num_classes * planes, [&](Index task, int) {
      float* values = ring_floats.data() + task / planes * ring.ClassStride();
      for (const RingPart& part : parts) {
        const Index x = task % planes - part.skipped[0];
        if (x < 0 || x >= part.size[0]) continue;
        for (Index y = 0; y < part.size[1]; ++y) {
          std::fill_n(values + part.position + x * strides[0] + y * strides[1], part.size[2], 0.0F);
        }
      }
    });
    opened = until;
  }

  // Labels what lies between slices below `until`, and hands their memory to the slices that follow.
  void Close(Index until, Threads& threads) {
    const auto started = std::chrono::steady_clock::now();
    const Index end = plan.model_size[plan.axis];
    until = std::min(until, end);
    if (until <= base) return;
    Open(base + RingLength(), threads);
    // Where windows were left out, several ringfuls pass at once.
    while (base + RingLength() < until) Advance(base + RingLength(), threads);
    if (until == end) {
      labelling->Write(ring, base, until, true, threads);
    } else {
      Advance(until, threads);
    }
    label_seconds += std::chrono::duration<double>(std::chrono::steady_clock::now() - started).count();
  }

  void Advance(Index until, Threads& threads) {
    labelling->Write(ring, base, until, false, threads);
    base = until - 1;  // target voxels between the last closed slice and the first open one still need it
    Open(base + RingLength(), threads);
  }

  void Blend(const float* logits, const Size3& start, Threads& threads) {
    GridBox inside;
    Index skipped = 0;  // of the window's voxels
    const Size3 steps = {window[1] * window[2], window[2], 1};
    for (int a = 0; a < 3; ++a) {
      inside.start[a] = std::max<Index>(start[a], 0);
      inside.size[a] = std::min(start[a] + window[a], plan.model_size[a]) - inside.start[a];
      if (inside.size[a] <= 0) return;
      skipped += (inside.start[a] - start[a]) * steps[a];
    }
    const float* x_weights = profiles[0].at(start[0]).data();
    const float* y_weights = profiles[1].at(start[1]).data();
    const float* z_weights = profiles[2].at(start[2]).data();
    const std::array<RingPart, 2> parts = SplitBox(ring, inside);
    const Size3 strides = ring.Strides();
    threads.Run(plan.num_classes * inside.size[0], [&](Index task, int) {
      const Index c = task / inside.size[0];
      const float* values = logits + c * Count(window) + skipped;
      float* sums = ring_floats.data() + c * ring.ClassStride();
      for (const RingPart& part : parts) {
        const Index x = task % inside.size[0];
        const Index in_part = x - part.skipped[0];
        if (in_part < 0 || in_part >= part.size[0] || part.size[plan.axis] == 0) continue;
        kernels.add(sums + part.position + in_part * strides[0], strides[1],
                    values + x * steps[0] + part.skipped[1] * steps[1] + part.skipped[2], steps[1], x_weights[x],
                    y_weights + part.skipped[1], z_weights + part.skipped[2], part.size[1], part.size[2]);
      }
    });
  }

  const LabellingPlan plan;
  const Size3 window;
  const LabelKernels& kernels;
  RawBuffer<float> ring_floats;
  const RingView ring;
  std::unique_ptr<Labelling> labelling;
  std::array<std::map<Index, std::vector<float>>, 3> profiles;
  Index base = 0;    // first model slice that the ring holds
  Index opened = 0;  // slices below it have been zeroed once
  Index row = 0;     // start along the ring's axis of the windows that are being added
  bool finished = false;
  std::vector<std::int64_t> counts;
  std::vector<double> confidence_sums;
  double label_seconds = 0.0;
};

Accumulator::Accumulator(const ModelGrid& grid, const TargetView& target, int num_classes, const Size3& window,
                         const std::vector<Size3>& starts, std::pmr::memory_resource* memory)
    : state_(std::make_unique<State>(grid, target, num_classes, window, starts, memory)) {}

Accumulator::~Accumulator() = default;

void Accumulator::Add(const float* logits, const Size3& start, Threads& threads) {
  State& state = *state_;
  for (int a = 0; a < 3; ++a) {
    if (state.profiles[a].count(start[a]) == 0) {
      throw std::invalid_argument("accumulator: no window is planned at " + Text(start));
    }
  }
  const Index row = start[state.plan.axis];
  if (row < state.row || state.finished) {
    throw std::invalid_argument("accumulator: window " + Text(start) + " comes after its slices were closed");
  }
  if (row > state.row) state.Close(row, threads);
  state.row = row;
  state.Open(state.base + state.RingLength(), threads);
  state.Blend(logits, start, threads);
}

void Accumulator::Finish(Threads& threads) {
  State& state = *state_;
  if (state.finished) return;
  state.Close(state.plan.model_size[state.plan.axis], threads);
  state.finished = true;
  state.labelling->tally().Total(&state.counts, &state.confidence_sums);
}

const std::vector<std::int64_t>& Accumulator::counts() const { return state_->counts; }

const std::vector<double>& Accumulator::confidence_sums() const { return state_->confidence_sums; }

double Accumulator::label_seconds() const { return state_->label_seconds; }

Index Accumulator::Bytes(const ModelGrid& grid, const TargetView& target, int num_classes, const Size3& window,
                         const std::vector<Size3>& starts, int threads) {
  const LabellingPlan plan = MakePlan(grid, target, num_classes, window, starts);
  return RingFloats(plan) * static_cast<Index>(sizeof(float)) + LabellingBytes(plan, target, threads);
}

}  // namespace cmc::core
