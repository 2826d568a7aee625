#include "cmc_core/distance.h"

#include <gtest/gtest.h>

#include <cmath>
#include <limits>
#include <stdexcept>
#include <vector>

#include "cmc_tests/scans.h"

namespace cmc::core {
namespace {

constexpr double kFar = std::numeric_limits<double>::infinity();

std::vector<double> Measure(const Scan<std::uint8_t>& labels, std::uint8_t label, const Point3& spacing,
                            const std::vector<Index>& points,
                            std::pmr::memory_resource* memory = std::pmr::get_default_resource()) {
  return SquaredSurfaceDistances(reinterpret_cast<const std::uint8_t*>(labels.view.data), labels.view.size,
                                 labels.view.strides, label, spacing, points.data(),
                                 static_cast<Index>(points.size()) / 3, memory);
}

std::vector<Index> EveryVoxel(const Size3& size) {
  std::vector<Index> points;
  for (Index x = 0; x < size[0]; ++x) {
    for (Index y = 0; y < size[1]; ++y) {
      for (Index z = 0; z < size[2]; ++z) points.insert(points.end(), {x, y, z});
    }
  }
  return points;
}

// Every pair is looked at.
std::vector<double> MeasureEveryPair(Scan<std::uint8_t>& labels, std::uint8_t label, const Point3& spacing,
                                     const std::vector<Index>& points) {
  const Size3 size = labels.view.size;
  std::vector<Size3> surface;
  labels.Each([&](std::uint8_t value, Index x, Index y, Index z) {
    if (value != label) return;
    const Size3 at{x, y, z};
    for (int axis = 0; axis < 3; ++axis) {
      for (const Index step : {-1, 1}) {
        Size3 next = at;
        next[axis] += step;
        const bool outside = next[axis] < 0 || next[axis] >= size[axis];
        if (outside || labels.At(next[0], next[1], next[2]) != label) {
          surface.push_back(at);
          return;
        }
      }
    }
  });
  std::vector<double> nearest(points.size() / 3, kFar);
  for (std::size_t i = 0; i < nearest.size(); ++i) {
    for (const Size3& other : surface) {
      double sum = 0;
      for (int axis = 0; axis < 3; ++axis) {
        const double along = spacing[axis] * static_cast<double>(points[3 * i + axis] - other[axis]);
        sum += along * along;
      }
      nearest[i] = std::min(nearest[i], sum);
    }
  }
  return nearest;
}

TEST(SquaredSurfaceDistances, EveryPairOfRandomLabels) {
  Dice dice(1);
  for (int round = 0; round < 300; ++round) {
    Scan<std::uint8_t> labels(dice.Size(1, 9), dice.Layout());
    const double density = dice.Chance(0.5) ? dice.Real(0, 0.1) : dice.Real(0, 1);
    labels.Each([&](std::uint8_t& label, Index, Index, Index) {
      label = dice.Chance(density) ? static_cast<std::uint8_t>(dice.Whole(1, 2)) : std::uint8_t{0};
    });
    const Point3 spacing = dice.Point(0.3, 6.0);
    const std::vector<Index> points = EveryVoxel(labels.view.size);
    const std::vector<double> expected = MeasureEveryPair(labels, 2, spacing, points);
    const std::vector<double> found = Measure(labels, 2, spacing, points);
    for (std::size_t i = 0; i < found.size(); ++i) {
      if (expected[i] == kFar) {
        EXPECT_EQ(found[i], kFar);
      } else {
        EXPECT_NEAR(found[i], expected[i], 1e-9 * (1 + expected[i]));
      }
    }
  }
}

TEST(SquaredSurfaceDistances, WholeNumbersAreExact) {
  Scan<std::uint8_t> labels({9, 9, 9}, {kFortranOrder, {}, 1});
  for (Index x = 2; x < 7; ++x) {
    for (Index y = 2; y < 7; ++y) {
      for (Index z = 2; z < 7; ++z) labels.At(x, y, z) = 1;
    }
  }
  // The centre, a corner of the cube, the corner of the grid, beside a face, beside an edge.
  const std::vector<Index> points{4, 4, 4, 2, 2, 2, 0, 0, 0, 4, 4, 7, 4, 7, 7};
  EXPECT_EQ(Measure(labels, 1, {1, 1, 1}, points), (std::vector<double>{4, 0, 12, 1, 2}));
  EXPECT_EQ(Measure(labels, 1, {1, 2, 5}, points), (std::vector<double>{4, 0, 120, 25, 29}));
}

TEST(SquaredSurfaceDistances, TheBorderOfTheGridIsSurface) {
  Scan<std::uint8_t> labels({3, 3, 3});
  labels.Each([](std::uint8_t& label, Index, Index, Index) { label = 7; });
  EXPECT_EQ(Measure(labels, 7, {1, 1, 1}, {1, 1, 1, 0, 1, 1}), (std::vector<double>{1, 0}));
  EXPECT_EQ(Measure(labels, 0, {1, 1, 1}, {1, 1, 1}), (std::vector<double>{kFar}));
}

TEST(SquaredSurfaceDistances, MemoryIsThatOfAPlane) {
  Dice dice(3);
  CountedMemory few, many;
  for (const Index depth : {4, 256}) {
    Scan<std::uint8_t> labels({20, 20, depth}, {kFortranOrder, {}, 1});
    labels.Each([&](std::uint8_t& label, Index, Index, Index) { label = dice.Chance(0.5) ? 1 : 0; });
    Measure(labels, 1, {1, 1, 1}, {0, 0, 0}, depth == 4 ? &few : &many);
  }
  EXPECT_GT(few.peak(), 0);
  EXPECT_EQ(many.peak(), few.peak());
  EXPECT_EQ(many.held(), 0);
}

TEST(SquaredSurfaceDistances, BadInput) {
  Scan<std::uint8_t> labels({3, 4, 5});
  EXPECT_TRUE(Measure(labels, 1, {1, 1, 1}, {}).empty());
  EXPECT_THROW(Measure(labels, 1, {1, 1, 1}, {3, 0, 0}), std::invalid_argument);
  EXPECT_THROW(Measure(labels, 1, {1, 1, 1}, {0, 0, -1}), std::invalid_argument);
  EXPECT_THROW(Measure(labels, 1, {0, 1, 1}, {0, 0, 0}), std::invalid_argument);
  EXPECT_THROW(Measure(labels, 1, {1, std::nan(""), 1}, {0, 0, 0}), std::invalid_argument);
}

}  // namespace
}  // namespace cmc::core
