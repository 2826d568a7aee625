#include "cmc_core/distance.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <limits>
#include <stdexcept>

#include "cmc_core/memory_order.h"

namespace cmc::core {
namespace {

constexpr double kFar = std::numeric_limits<double>::infinity();

double Square(double value) { return value * value; }

// Replaces squared distances f(0 ... n-1) by min over q of f(q) + (step (p - q))^2: the lower envelope of parabolas
// (Felzenszwalb and Huttenlocher 2012). Where all are infinite they stay so.
class Envelope {
 public:
  Envelope(Index count, double step, std::pmr::memory_resource* memory)
      : step_(step), values_(count, memory), apexes_(count, memory), starts_(count, memory) {}

  void Apply(double* line, Index stride) {
    const auto count = static_cast<Index>(values_.size());
    Index last = -1;  // parabolas in the envelope, less one
    for (Index q = 0; q < count; ++q) {
      values_[q] = line[q * stride];
      if (values_[q] == kFar) continue;
      double start = -kFar;
      while (last >= 0) {
        start = Crossing(apexes_[last], q);
        if (start > starts_[last]) break;
        --last;
      }
      ++last;
      apexes_[last] = q;
      starts_[last] = last == 0 ? -kFar : start;
    }
    if (last < 0) return;
    Index k = 0;
    for (Index p = 0; p < count; ++p) {
      while (k < last && starts_[k + 1] < static_cast<double>(p)) ++k;
      line[p * stride] = values_[apexes_[k]] + Square(step_ * static_cast<double>(p - apexes_[k]));
    }
  }

 private:
  // Where the parabola of `b` falls below that of `a`, a < b.
  double Crossing(Index a, Index b) const {
    const double rise = (values_[b] - values_[a]) / (step_ * step_);
    return (rise / static_cast<double>(b - a) + static_cast<double>(a + b)) / 2.0;
  }

  double step_;
  std::pmr::vector<double> values_;
  std::pmr::vector<Index> apexes_;
  std::pmr::vector<double> starts_;
};

// The class, axes in the order that they lie in memory: 0 is the fastest.
struct Mask {
  const std::uint8_t* labels;
  Size3 size;
  Size3 strides;
  std::uint8_t label;

  bool Has(const std::uint8_t* voxel) const { return *voxel == label; }

  bool OnSurface(const std::uint8_t* voxel, const Size3& at) const {
    for (int axis = 0; axis < 3; ++axis) {
      if (at[axis] == 0 || at[axis] == size[axis] - 1) return true;
      if (!Has(voxel - strides[axis]) || !Has(voxel + strides[axis])) return true;
    }
    return false;
  }
};

// Squared distances within row (y, z) to the row's own surface voxels; false if it has none.
bool MeasureRow(const Mask& mask, Index y, Index z, double step, double* row) {
  const Index width = mask.size[0];
  const std::uint8_t* voxel = mask.labels + y * mask.strides[1] + z * mask.strides[2];
  Index before = -1;
  for (Index x = 0; x < width; ++x, voxel += mask.strides[0]) {
    if (mask.Has(voxel) && mask.OnSurface(voxel, {x, y, z})) before = x;
    row[x] = before < 0 ? kFar : static_cast<double>(x - before);
  }
  if (before < 0) return false;
  double after = kFar;
  for (Index x = width - 1; x >= 0; --x) {
    after = row[x] == 0.0 ? 0.0 : after + 1.0;
    row[x] = Square(step * std::min(row[x], after));
  }
  return true;
}

}  // namespace

std::vector<double> SquaredSurfaceDistances(const std::uint8_t* labels, const Size3& size, const Size3& strides,
                                            std::uint8_t label, const Point3& spacing, const Index* points, Index count,
                                            std::pmr::memory_resource* memory) {
  for (int axis = 0; axis < 3; ++axis) {
    if (size[axis] < 1) throw std::invalid_argument("surface distances: no voxels");
    if (!(spacing[axis] > 0.0) || spacing[axis] == kFar) {
      throw std::invalid_argument("surface distances: a spacing must be above 0 and finite");
    }
    for (Index i = 0; i < count; ++i) {
      if (points[3 * i + axis] < 0 || points[3 * i + axis] >= size[axis]) {
        throw std::invalid_argument("surface distances: a point lies outside the grid");
      }
    }
  }
  std::vector<double> nearest(count, kFar);
  if (count == 0) return nearest;
  const std::array<int, 3> order = MemoryOrder(size, strides);
  const auto [fast, middle, slow] = order;
  const Mask mask{
      labels, {size[fast], size[middle], size[slow]}, {strides[fast], strides[middle], strides[slow]}, label};
  std::pmr::vector<double> plane(mask.size[0] * mask.size[1], memory);
  Envelope envelope(mask.size[1], spacing[middle], memory);
  for (Index z = 0; z < mask.size[2]; ++z) {
    bool any = false;
    for (Index y = 0; y < mask.size[1]; ++y) {
      any |= MeasureRow(mask, y, z, spacing[fast], plane.data() + y * mask.size[0]);
    }
    if (!any) continue;
    for (Index x = 0; x < mask.size[0]; ++x) envelope.Apply(plane.data() + x, mask.size[0]);
    for (Index i = 0; i < count; ++i) {
      const Index* point = points + 3 * i;
      const double depth = Square(spacing[slow] * static_cast<double>(point[slow] - z));
      if (depth < nearest[i]) {
        nearest[i] = std::min(nearest[i], depth + plane[point[middle] * mask.size[0] + point[fast]]);
      }
    }
  }
  return nearest;
}

}  // namespace cmc::core
