// A target grid whose axes run along those of the model grid: interpolation axis by axis.
#include <algorithm>
#include <array>
#include <cmath>
#include <cstdlib>
#include <cstring>

#include "cmc_core/class_set.h"
#include "cmc_core/labelling.h"

namespace cmc::core {
namespace {

// The two model voxels between which a target voxel lies along one axis; upper = lower where it falls on a voxel.
struct Tap {
  std::int32_t lower;
  std::int32_t upper;
  float lower_weight;
  float upper_weight;
};

// A target axis, in the order in which positions along the model axis it runs along increase.
struct Axis {
  Index count = 0;
  Index stride = 0;  // bytes from one target voxel to the next
  Index model_size = 0;
  double scale = 0.0;  // model voxels per target voxel
};

Index RoundUp(Index value, Index step) { return (value + step - 1) / step * step; }

// Target voxels are labelled in blocks. Within one, model rows are interpolated along the model grid's last axis first
// (the costly part, for the fewest rows), then blended along its first axis, then along the middle one while labelling.
// Labels are kept for the whole block and written in runs of 64 bytes where the target is that long.
struct Shape {
  std::array<Axis, 3> axes;  // by model axis
  Size3 block{};
  Index lanes = 0;   // block[2], rounded up
  Index rows = 0;    // model rows that a block needs at most along the middle axis
  Index plane = 0;   // floats of such rows, of all classes
  Index origin = 0;  // bytes from the target's voxel (0, 0, 0) to the one whose positions are smallest

  Shape(const LabellingPlan& plan, const AxisMap& map, const TargetView& target) {
    for (int t = 0; t < 3; ++t) {
      const int m = map.target_axis[t];
      const bool flipped = map.scale[t] < 0.0;
      const Index stride = target.strides[t];
      axes[m] = {target.size[t], flipped ? -stride : stride, plan.model_size[m], std::fabs(map.scale[t])};
      if (flipped) origin += (target.size[t] - 1) * stride;
    }
    int fastest = 2;
    for (int m = 0; m < 3; ++m) {
      const bool longer = axes[fastest].count > 1;
      if (axes[m].count > 1 && (!longer || std::abs(axes[m].stride) < std::abs(axes[fastest].stride))) fastest = m;
    }
    block = fastest == 0 ? Size3{64, 8, 32} : fastest == 1 ? Size3{8, 64, 32} : Size3{16, 16, 64};
    for (int m = 0; m < 3; ++m) block[m] = std::min(block[m], axes[m].count);
    lanes = RoundUp(block[2], kChunk);
    const auto spanned = static_cast<Index>(static_cast<double>(block[1] - 1) * axes[1].scale) + 3;
    rows = std::min({2 * block[1], spanned, axes[1].model_size});
    plane = rows * plan.num_classes * lanes;
  }

  Index Taps() const { return axes[0].count + axes[1].count + axes[2].count; }
};

// What one thread works with.
class Scratch {
 public:
  Scratch(const Shape& shape, int num_classes, std::pmr::memory_resource* memory)
      : floats_(3 * shape.plane + num_classes * kChunk, memory),
        bytes_(2 * shape.block[0] * shape.block[1] * shape.lanes, memory),
        plane_(shape.plane) {}

  static Index Bytes(const Shape& shape, int num_classes) {
    return (3 * shape.plane + num_classes * kChunk) * static_cast<Index>(sizeof(float)) +
           2 * shape.block[0] * shape.block[1] * shape.lanes;
  }

  float* Plane(int index) { return floats_.data() + index * plane_; }
  float* Logits() { return floats_.data() + 3 * plane_; }
  std::uint8_t* Labels() { return bytes_.data(); }
  std::uint8_t* Confidence() { return bytes_.data() + bytes_.count() / 2; }

 private:
  RawBuffer<float> floats_;
  RawBuffer<std::uint8_t> bytes_;
  Index plane_;
};

// Neighbours of a block's voxels along the contiguous axis, as slots of the ring, filled up to whole chunks.
struct Lanes {
  static constexpr int kMost = 64;
  std::int32_t lower[kMost], upper[kMost];
  float lower_weight[kMost], upper_weight[kMost];

  Lanes(const RingView& ring, const Tap* taps, Index count, Index padded) {
    for (Index i = 0; i < padded; ++i) {
      const Tap& tap = taps[std::min(i, count - 1)];
      lower[i] = static_cast<std::int32_t>(ring.Slot(2, tap.lower));
      upper[i] = static_cast<std::int32_t>(ring.Slot(2, tap.upper));
      lower_weight[i] = tap.lower_weight;
      upper_weight[i] = tap.upper_weight;
    }
  }

  LaneTaps Taps() const { return {lower, upper, lower_weight, upper_weight}; }
};

// The model rows that a block needs along the middle axis, each once.
struct Rows {
  static constexpr int kMost = 64;
  Index count = 0;
  std::int32_t model[2 * kMost];
  std::int32_t lower[kMost], upper[kMost];  // which of them a target row lies between

  Rows(const Tap* taps, Index targets) {
    for (Index i = 0; i < targets; ++i) {
      lower[i] = Find(taps[i].lower);
      upper[i] = Find(taps[i].upper);
    }
  }

 private:
  std::int32_t Find(std::int32_t row) {
    // Rows come in increasing order but for the lower one, which may be the last but one.
    for (Index i = count - 1; i >= 0 && i >= count - 2; --i) {
      if (model[i] == row) return static_cast<std::int32_t>(i);
    }
    model[count] = row;
    return static_cast<std::int32_t>(count++);
  }
};

// Copies a block of bytes; the run along the axis that is fastest in the target goes innermost.
void CopyBlock(const std::uint8_t* from, const Size3& from_strides, std::uint8_t* to, const Size3& to_strides,
               const Size3& size) {
  std::array<int, 3> order = {0, 1, 2};
  std::sort(order.begin(), order.end(),
            [&](int a, int b) { return std::abs(to_strides[a]) > std::abs(to_strides[b]); });
  const auto [outer, middle, inner] = order;
  const Index from_step = from_strides[inner], to_step = to_strides[inner], count = size[inner];
  for (Index i = 0; i < size[outer]; ++i) {
    for (Index j = 0; j < size[middle]; ++j) {
      const std::uint8_t* source = from + i * from_strides[outer] + j * from_strides[middle];
      std::uint8_t* place = to + i * to_strides[outer] + j * to_strides[middle];
      if (from_step == 1 && to_step == 1) {
        std::memcpy(place, source, count);
      } else {
        for (Index k = 0; k < count; ++k) place[k * to_step] = source[k * from_step];
      }
    }
  }
}

class AlignedLabelling final : public Labelling {
 public:
  AlignedLabelling(const LabellingPlan& plan, const AxisMap& map, const TargetView& target,
                   std::pmr::memory_resource* memory)
      : Labelling(plan.num_classes, memory),
        plan_(plan),
        target_(target),
        shape_(plan, map, target),
        memory_(memory),
        kernels_(FindLabelKernels()),
        taps_(shape_.Taps(), memory) {
    Tap* tap = taps_.data();
    for (int m = 0; m < 3; ++m) {
      axis_taps_[m] = tap;
      const int t =
          static_cast<int>(std::find(map.target_axis.begin(), map.target_axis.end(), m) - map.target_axis.begin());
      const Axis& axis = shape_.axes[m];
      for (Index i = 0; i < axis.count; ++i) {
        const double exact = map.Position(t, map.scale[t] < 0.0 ? axis.count - 1 - i : i);
        const double position = std::clamp(exact, 0.0, static_cast<double>(axis.model_size - 1));
        const double lower = std::floor(position);
        const double fraction = position - lower;
        const auto index = static_cast<std::int32_t>(lower);
        *tap++ = {index, fraction > 0.0 ? index + 1 : index, static_cast<float>(1.0 - fraction),
                  static_cast<float>(fraction)};
      }
    }
  }

  void Write(const RingView& ring, Index, Index until, bool last, Threads& threads) override {
    const Tap* along = axis_taps_[plan_.axis];
    Index ready = shape_.axes[plan_.axis].count;
    while (!last && ready > done_ && along[ready - 1].upper > until - 1) --ready;
    if (ready <= done_) return;
    tally_.Prepare(threads.count());
    while (static_cast<int>(scratch_.size()) < threads.count()) {
      scratch_.emplace_back(shape_, plan_.num_classes, memory_);
    }
    GridBox all{{0, 0, 0}, {shape_.axes[0].count, shape_.axes[1].count, shape_.axes[2].count}};
    all.start[plan_.axis] = done_;
    all.size[plan_.axis] = ready - done_;
    Size3 blocks;
    for (int m = 0; m < 3; ++m) blocks[m] = (all.size[m] + shape_.block[m] - 1) / shape_.block[m];
    threads.Run(Count(blocks), [&](Index task, int thread) {
      const Size3 block = {task / (blocks[1] * blocks[2]), task / blocks[2] % blocks[1], task % blocks[2]};
      GridBox targets;
      for (int m = 0; m < 3; ++m) {
        targets.start[m] = all.start[m] + block[m] * shape_.block[m];
        targets.size[m] = std::min(shape_.block[m], all.start[m] + all.size[m] - targets.start[m]);
      }
      WriteBlock(ring, targets, thread);
    });
    done_ = ready;
  }

 private:
  void WriteBlock(const RingView& ring, const GridBox& targets, int thread) {
    Scratch& scratch = scratch_[thread];
    const Tap* taps[3];
    GridBox models;
    for (int m = 0; m < 3; ++m) {
      taps[m] = axis_taps_[m] + targets.start[m];
      models.start[m] = taps[m][0].lower;
      models.size[m] = taps[m][targets.size[m] - 1].upper + 1 - models.start[m];
    }
    ClassSet classes;
    FindClasses(kernels_, ring, models, plan_.num_classes, &classes);
    const Index lanes = RoundUp(targets.size[2], kChunk);
    const Size3 strides = {targets.size[1] * lanes, lanes, 1};
    if (classes.count == 1) {
      std::memset(scratch.Labels(), static_cast<int>(classes.ids[0]), targets.size[0] * strides[0]);
      std::memset(scratch.Confidence(), 255, targets.size[0] * strides[0]);
    } else {
      LabelBlock(ring, classes, taps, targets.size, lanes, scratch);
    }
    Index offset = shape_.origin;
    Size3 target_strides;
    for (int m = 0; m < 3; ++m) {
      target_strides[m] = shape_.axes[m].stride;
      offset += targets.start[m] * target_strides[m];
    }
    CopyBlock(scratch.Labels(), strides, target_.labels + offset, target_strides, targets.size);
    CopyBlock(scratch.Confidence(), strides, target_.confidence + offset, target_strides, targets.size);
    for (Index row = 0; row < targets.size[0] * targets.size[1]; ++row) {
      tally_.Add(thread, scratch.Labels() + row * lanes, scratch.Confidence() + row * lanes, targets.size[2]);
    }
  }

  void LabelBlock(const RingView& ring, const ClassSet& classes, const Tap* const (&taps)[3], const Size3& size,
                  Index lanes, Scratch& scratch) {
    const Lanes lane_taps(ring, taps[2], size[2], lanes);
    const Rows rows(taps[1], size[1]);
    const Index row_floats = classes.count * lanes;
    // Two model planes, interpolated along the contiguous axis; the one that the next target voxels do not need makes
    // room.
    std::int32_t planes[2] = {-1, -1};
    const auto plane = [&](std::int32_t model, std::int32_t keep) {
      for (int p = 0; p < 2; ++p) {
        if (planes[p] == model) return scratch.Plane(p);
      }
      const int p = planes[0] == keep ? 1 : 0;
      planes[p] = model;
      const float* start = ring.data + ring.Slot(0, model) * ring.size[1] * ring.size[2];
      for (Index row = 0; row < rows.count; ++row) {
        kernels_.sample(start + ring.Slot(1, rows.model[row]) * ring.size[2], classes.offsets.data(), classes.count,
                        lane_taps.Taps(), lanes, scratch.Plane(p) + row * row_floats);
      }
      return scratch.Plane(p);
    };
    for (Index i = 0; i < size[0]; ++i) {
      const Tap& tap = taps[0][i];
      const float* blended = plane(tap.lower, tap.upper);
      if (tap.upper != tap.lower) {
        const float* upper = plane(tap.upper, tap.lower);
        kernels_.blend(blended, tap.lower_weight, upper, tap.upper_weight, rows.count * row_floats, scratch.Plane(2));
        blended = scratch.Plane(2);
      }
      for (Index j = 0; j < size[1]; ++j) {
        const Index place = (i * size[1] + j) * lanes;
        kernels_.label(blended + rows.lower[j] * row_floats, taps[1][j].lower_weight,
                       blended + rows.upper[j] * row_floats, taps[1][j].upper_weight, lanes, classes.ids.data(),
                       classes.count, lanes, scratch.Logits(), scratch.Labels() + place, scratch.Confidence() + place);
      }
    }
  }

  const LabellingPlan plan_;
  const TargetView target_;
  const Shape shape_;
  std::pmr::memory_resource* memory_;
  const LabelKernels& kernels_;
  RawBuffer<Tap> taps_;
  std::array<const Tap*, 3> axis_taps_{};
  std::vector<Scratch> scratch_;
  Index done_ = 0;  // target voxels along the ring's axis that have their label
};

}  // namespace

std::unique_ptr<Labelling> MakeAlignedLabelling(const LabellingPlan& plan, const AxisMap& map, const TargetView& target,
                                                std::pmr::memory_resource* memory) {
  return std::make_unique<AlignedLabelling>(plan, map, target, memory);
}

Index AlignedLabellingBytes(const LabellingPlan& plan, const AxisMap& map, const TargetView& target, int threads) {
  const Shape shape(plan, map, target);
  return shape.Taps() * static_cast<Index>(sizeof(Tap)) + threads * Scratch::Bytes(shape, plan.num_classes);
}

}  // namespace cmc::core
