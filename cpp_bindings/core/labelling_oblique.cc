// A target grid in general position: eight neighbours for every voxel.
#include <algorithm>
#include <array>
#include <cmath>
#include <cstdlib>
#include <cstring>
#include <limits>

#include "cmc_core/class_set.h"
#include "cmc_core/labelling.h"

namespace cmc::core {
namespace {

constexpr Index kBoxBytes = Index{1} << 20;  // what a processor's second cache holds
constexpr double kMostModelVoxels = 8.0;     // per target voxel: beyond it gathering beats copying
constexpr Size3 kSides[] = {{32, 16, 16}, {32, 8, 8}, {16, 16, 16}, {16, 8, 8}, {16, 4, 4}};  // of bricks, rows first

// Target voxels are labelled in bricks. The model voxels around one are copied with their classes together, so that an
// interpolated voxel takes eight contiguous loads; where the target grid is so coarse that most of them would be copied
// in vain, it reads the ring itself.
struct Shape {
  std::array<int, 3> order{};  // target axes: along rows of a brick (the fastest in memory), then the slower ones
  Size3 brick{};               // target voxels, by target axis
  bool copies = false;
  Index box = 0;     // model voxels around a brick at most
  Index padded = 0;  // classes, rounded up

  Shape(const LabellingPlan& plan, const TargetView& target) {
    order = {2, 1, 0};
    std::stable_sort(order.begin(), order.end(), [&](int a, int b) {
      const bool a_flat = target.size[a] == 1, b_flat = target.size[b] == 1;
      return a_flat != b_flat ? b_flat : std::abs(target.strides[a]) < std::abs(target.strides[b]);
    });
    padded = (plan.num_classes + 7) / 8 * 8;
    double least = kMostModelVoxels;
    for (const Size3& sides : kSides) {
      Size3 candidate;
      for (int i = 0; i < 3; ++i) candidate[order[i]] = std::min(sides[i], target.size[order[i]]);
      Index voxels = 1;
      for (int a = 0; a < 3; ++a) voxels *= Span(plan, candidate, a);
      const double share = static_cast<double>(voxels) / static_cast<double>(Count(candidate));
      const bool fits = voxels * padded * static_cast<Index>(sizeof(float)) <= kBoxBytes;
      if (brick[0] == 0 || (fits && share < least)) {
        brick = candidate;
        copies = fits && share < least;
        box = copies ? voxels : 0;
        if (copies) least = share;
      }
    }
  }

  Index LaneCount(const TargetView& target) const { return target.size[order[0]] + 2 * kRow; }

 private:
  // Model voxels along an axis that a brick's neighbours lie in, wherever it stands.
  static Index Span(const LabellingPlan& plan, const Size3& brick, int axis) {
    double range = 1e-5;  // positions are rounded
    for (int t = 0; t < 3; ++t) range += std::fabs(plan.matrix[4 * axis + t]) * static_cast<double>(brick[t] - 1);
    const auto most = static_cast<double>(plan.ring_size[axis]);
    return static_cast<Index>(std::min(std::floor(range) + 3.0, most));
  }
};

// What one thread works with.
class Scratch {
 public:
  Scratch(const Shape& shape, std::pmr::memory_resource* memory)
      : floats_(Floats(shape), memory), box_floats_(BoxFloats(shape)), row_floats_(shape.padded * kRow) {
    std::fill_n(floats_.data(), floats_.count(), 0.0F);  // lanes beyond a row's end are computed too
  }

  static Index Bytes(const Shape& shape) { return Floats(shape) * static_cast<Index>(sizeof(float)); }

  float* Box() { return floats_.data(); }
  float* Tile() { return floats_.data() + box_floats_; }
  float* Values() { return Tile() + row_floats_; }
  float* Logits() { return Values() + row_floats_; }

 private:
  // Rows are copied in fours of voxels.
  static Index BoxFloats(const Shape& shape) { return shape.copies ? (shape.box + 4) * shape.padded : 0; }
  static Index Floats(const Shape& shape) { return BoxFloats(shape) + shape.padded * (2 * kRow + kChunk); }

  RawBuffer<float> floats_;
  Index box_floats_;
  Index row_floats_;
};

// The part of the model grid that one call labels: micro positions along the ring's axis in (above, up_to].
struct Range {
  double above = 0.0;
  double up_to = 0.0;
};

std::int32_t LowerIndex(double position, std::int32_t last) {
  return std::min(static_cast<std::int32_t>(position * (1.0 / kMicro)), last);
}

double RoundAndClip(double position, double limit) { return std::clamp((position + kToWhole) - kToWhole, 0.0, limit); }

class ObliqueLabelling final : public Labelling {
 public:
  ObliqueLabelling(const LabellingPlan& plan, const TargetView& target, std::pmr::memory_resource* memory)
      : Labelling(plan.num_classes, memory),
        plan_(plan),
        target_(target),
        shape_(plan, target),
        memory_(memory),
        kernels_(FindLabelKernels()),
        lanes_(3 * shape_.LaneCount(target), memory) {
    for (std::size_t i = 0; i < micro_.size(); ++i) micro_[i] = plan.matrix[i] * kMicro;
    const Index count = shape_.LaneCount(target);
    for (int a = 0; a < 3; ++a) {
      const double step = micro_[4 * a + shape_.order[0]];
      const double offset = shape_.order[0] == 2 ? micro_[4 * a + 3] : 0.0;
      for (Index i = 0; i < count; ++i) {
        const Index index = std::min(i, target.size[shape_.order[0]] - 1);
        lanes_[a * count + i] = step * static_cast<double>(index) + offset;
      }
    }
  }

  void Write(const RingView& ring, Index base, Index until, bool last, Threads& threads) override {
    const Range range = {written_,
                         last ? std::numeric_limits<double>::infinity() : static_cast<double>(until - 1) * kMicro};
    tally_.Prepare(threads.count());
    while (static_cast<int>(scratch_.size()) < threads.count()) scratch_.emplace_back(shape_, memory_);
    std::array<std::int32_t, 3> last_lower;
    for (int a = 0; a < 3; ++a) {
      Index most = plan_.model_size[a] - 2;
      // A voxel right on the last closed slice is interpolated from below, away from the slices that are still open.
      if (a == plan_.axis && !last) most = std::min(most, std::max(until - 2, base));
      last_lower[a] = static_cast<std::int32_t>(std::max<Index>(most, 0));
    }
    Size3 bricks;
    for (int t = 0; t < 3; ++t) bricks[t] = (target_.size[t] + shape_.brick[t] - 1) / shape_.brick[t];
    // A task is a line of bricks along the axis on which neighbours share most cache lines of the ring.
    const double* m = plan_.matrix.data() + 8;
    const int line = static_cast<int>(
        std::max_element(m, m + 3, [](double a, double b) { return std::fabs(a) < std::fabs(b); }) - m);
    const int first = line == 0 ? 1 : 0, second = 3 - line - first;
    threads.Run(bricks[first] * bricks[second], [&](Index task, int thread) {
      GridBox voxels;
      voxels.start[first] = task / bricks[second] * shape_.brick[first];
      voxels.start[second] = task % bricks[second] * shape_.brick[second];
      for (Index i = 0; i < bricks[line]; ++i) {
        voxels.start[line] = i * shape_.brick[line];
        for (int t = 0; t < 3; ++t) voxels.size[t] = std::min(shape_.brick[t], target_.size[t] - voxels.start[t]);
        WriteBrick(ring, voxels, range, last_lower, thread);
      }
    });
    written_ = range.up_to;
  }

 private:
  // A model axis's positions along the row of a brick that goes through `voxel`. The order of additions is the same
  // whichever target axis rows run along, so that results do not depend on the target's layout.
  MicroAxis RowAxis(int axis, const Size3& voxel, std::int32_t last_lower) const {
    const double* m = micro_.data() + 4 * axis;
    MicroAxis row;
    row.lanes = lanes_.data() + axis * shape_.LaneCount(target_) + voxel[shape_.order[0]];
    const double x = m[0] * static_cast<double>(voxel[0]), y = m[1] * static_cast<double>(voxel[1]);
    if (shape_.order[0] == 2) {
      row.u = x + y;
    } else {
      row.u = shape_.order[0] == 0 ? y : x;
      row.v = m[2] * static_cast<double>(voxel[2]) + m[3];
    }
    row.limit = static_cast<double>(plan_.model_size[axis] - 1) * kMicro;
    row.last = last_lower;
    return row;
  }

  static double Position(const MicroAxis& axis, Index lane) {
    return RoundAndClip((axis.lanes[lane] + axis.u) + axis.v, axis.limit);
  }

  // Smallest and largest position in a brick: positions are monotonic along every target axis.
  std::array<double, 2> Extent(int axis, const GridBox& voxels) const {
    std::array<double, 2> extent = {std::numeric_limits<double>::infinity(), 0.0};
    const auto [along, middle, slow] = shape_.order;
    for (int corner = 0; corner < 4; ++corner) {
      Size3 voxel = voxels.start;
      if (corner & 1) voxel[middle] += voxels.size[middle] - 1;
      if (corner & 2) voxel[slow] += voxels.size[slow] - 1;
      const MicroAxis row = RowAxis(axis, voxel, 0);
      for (const Index lane : {Index{0}, voxels.size[along] - 1}) {
        const double position = Position(row, lane);
        extent = {std::min(extent[0], position), std::max(extent[1], position)};
      }
    }
    return extent;
  }

  void WriteBrick(const RingView& ring, const GridBox& voxels, const Range& range,
                  const std::array<std::int32_t, 3>& last_lower, int thread) {
    std::array<std::array<double, 2>, 3> extents;
    extents[plan_.axis] = Extent(plan_.axis, voxels);
    std::array<double, 2>& across = extents[plan_.axis];
    if (across[0] > range.up_to || across[1] <= range.above) return;
    const bool whole = across[0] > range.above && across[1] <= range.up_to;
    across = {std::max(across[0], range.above), std::min(across[1], range.up_to)};
    GridBox models;
    for (int a = 0; a < 3; ++a) {
      if (a != plan_.axis) extents[a] = Extent(a, voxels);
      models.start[a] = LowerIndex(std::max(extents[a][0], 0.0), last_lower[a]);
      models.size[a] = plan_.model_size[a] == 1 ? 1 : LowerIndex(extents[a][1], last_lower[a]) + 2 - models.start[a];
    }
    ClassSet classes;
    ClassLastBox box;
    if (shape_.copies) {
      FindClasses(kernels_, ring, models, plan_.num_classes, &classes);
      if (classes.count > 1) box = CopyBox(ring, models, classes, scratch_[thread].Box());
    } else {
      for (int c = 0; c < plan_.num_classes; ++c) classes.Add(c, ring.ClassStride());
    }
    const auto [along, middle, slow] = shape_.order;
    Size3 voxel = voxels.start;
    for (Index i = 0; i < voxels.size[slow]; ++i) {
      voxel[slow] = voxels.start[slow] + i;
      for (Index j = 0; j < voxels.size[middle]; ++j) {
        voxel[middle] = voxels.start[middle] + j;
        voxel[along] = voxels.start[along];
        Index begin = 0, end = voxels.size[along];
        if (!whole) {
          const MicroAxis row = RowAxis(plan_.axis, voxel, 0);
          const auto ready = [&](Index lane) {
            const double position = Position(row, lane);
            return position > range.above && position <= range.up_to;
          };
          while (begin < end && !ready(begin)) ++begin;
          while (begin < end && !ready(end - 1)) --end;
          if (begin == end) continue;
          voxel[along] += begin;
        }
        WriteRow(ring, voxel, end - begin, classes, box, last_lower, thread);
      }
    }
  }

  ClassLastBox CopyBox(const RingView& ring, const GridBox& models, const ClassSet& classes, float* values) const {
    ClassLastBox box;
    box.values = values;
    box.padded = classes.Padded();
    std::int32_t step = box.padded;
    for (int a = 2; a >= 0; --a) {
      box.first[a] = static_cast<std::int32_t>(models.start[a]);
      box.step[a] = step;
      box.upper[a] = models.size[a] > 1 ? step : 0;
      step *= static_cast<std::int32_t>(models.size[a]);
    }
    const Index first = ring.Slot(2, models.start[2]);
    const Index before_end = std::min(models.size[2], ring.size[2] - first);
    for (Index x = 0; x < models.size[0]; ++x) {
      for (Index y = 0; y < models.size[1]; ++y) {
        const float* row =
            ring.data +
            (ring.Slot(0, models.start[0] + x) * ring.size[1] + ring.Slot(1, models.start[1] + y)) * ring.size[2];
        // In the order of memory: what is written beyond a row's end is overwritten by the next.
        kernels_.pack(row + first, classes.offsets.data(), box.padded, before_end, values);
        if (before_end < models.size[2]) {
          kernels_.pack(row, classes.offsets.data(), box.padded, models.size[2] - before_end,
                        values + before_end * box.padded);
        }
        values += models.size[2] * box.padded;
      }
    }
    return box;
  }

  void WriteRow(const RingView& ring, const Size3& voxel, Index count, const ClassSet& classes, const ClassLastBox& box,
                const std::array<std::int32_t, 3>& last_lower, int thread) {
    std::uint8_t labels[kRow], confidence[kRow];
    if (classes.count == 1) {
      std::memset(labels, static_cast<int>(classes.ids[0]), count);
      std::memset(confidence, 255, count);
    } else {
      Scratch& scratch = scratch_[thread];
      std::int32_t lower[3][kRow];
      float fraction[3][kRow];
      const Index padded = (count + kChunk - 1) / kChunk * kChunk;
      for (int a = 0; a < 3; ++a) kernels_.place(RowAxis(a, voxel, last_lower[a]), padded, lower[a], fraction[a]);
      if (shape_.copies) {
        kernels_.interpolate(box, lower, fraction, static_cast<int>(count), scratch.Tile(), scratch.Values());
      } else {
        Gather(ring, lower, fraction, count, scratch.Values());
      }
      kernels_.label(scratch.Values(), 1.0F, scratch.Values(), 0.0F, kRow, classes.ids.data(), classes.count, count,
                     scratch.Logits(), labels, confidence);
    }
    const Index stride = target_.strides[shape_.order[0]];
    Index offset = 0;
    for (int t = 0; t < 3; ++t) offset += voxel[t] * target_.strides[t];
    std::uint8_t* label_place = target_.labels + offset;
    std::uint8_t* confidence_place = target_.confidence + offset;
    if (stride == 1) {
      std::memcpy(label_place, labels, count);
      std::memcpy(confidence_place, confidence, count);
    } else {
      for (Index i = 0; i < count; ++i) label_place[i * stride] = labels[i];
      for (Index i = 0; i < count; ++i) confidence_place[i * stride] = confidence[i];
    }
    tally_.Add(thread, labels, confidence, count);
  }

  // The same sums as `interpolate`, from the ring itself.
  void Gather(const RingView& ring, const std::int32_t (*lower)[kRow], const float (*fraction)[kRow], Index count,
              float* out) const {
    const Size3 strides = ring.Strides();
    for (Index i = 0; i < count; ++i) {
      Index offsets[3][2];
      float weights[3][2];
      for (int a = 0; a < 3; ++a) {
        const Index upper = std::min<Index>(lower[a][i] + 1, plan_.model_size[a] - 1);
        offsets[a][0] = ring.Slot(a, lower[a][i]) * strides[a];
        offsets[a][1] = ring.Slot(a, upper) * strides[a];
        weights[a][1] = fraction[a][i];
        weights[a][0] = 1.0F - weights[a][1];
      }
      Index place[8];
      float weight[8];
      for (int corner = 0; corner < 8; ++corner) {
        const int x = corner >> 2, y = corner >> 1 & 1, z = corner & 1;
        place[corner] = offsets[0][x] + offsets[1][y] + offsets[2][z];
        weight[corner] = weights[0][x] * weights[1][y] * weights[2][z];
      }
      const float* values = ring.data;
      for (int c = 0; c < plan_.num_classes; ++c, values += ring.ClassStride()) {
        const float low = (weight[0] * values[place[0]] + weight[1] * values[place[1]]) +
                          (weight[2] * values[place[2]] + weight[3] * values[place[3]]);
        const float high = (weight[4] * values[place[4]] + weight[5] * values[place[5]]) +
                           (weight[6] * values[place[6]] + weight[7] * values[place[7]]);
        out[c * kRow + i] = low + high;
      }
    }
  }

  const LabellingPlan plan_;
  const TargetView target_;
  const Shape shape_;
  std::pmr::memory_resource* memory_;
  const LabelKernels& kernels_;
  Matrix4 micro_{};          // plan_.matrix in steps of 1e-6 model voxel
  RawBuffer<double> lanes_;  // by model axis: what the index along rows adds to the micro position
  std::vector<Scratch> scratch_;
  double written_ = -kMicro;  // micro position along the ring's axis up to which every target voxel has its label
};

}  // namespace

std::unique_ptr<Labelling> MakeObliqueLabelling(const LabellingPlan& plan, const TargetView& target,
                                                std::pmr::memory_resource* memory) {
  return std::make_unique<ObliqueLabelling>(plan, target, memory);
}

Index ObliqueLabellingBytes(const LabellingPlan& plan, const TargetView& target, int threads) {
  const Shape shape(plan, target);
  return 3 * shape.LaneCount(target) * static_cast<Index>(sizeof(double)) + threads * Scratch::Bytes(shape);
}

}  // namespace cmc::core
