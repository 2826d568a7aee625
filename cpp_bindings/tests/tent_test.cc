#include "cmc_core/tent.h"

#include <gtest/gtest.h>

#include <cmath>
#include <vector>

#include "cmc_tests/scans.h"

namespace cmc::core {
namespace {

TEST(HalfWidths, AreRowLengthsButAtLeastOne) {
  const Matrix4 matrix{3, 0, 4, 9, 0, 0.5, 0, 9, 0, 0, 1.00000049, 9, 0, 0, 0, 1};
  EXPECT_EQ(HalfWidths(matrix), (Point3{5.0, 1.0, 1.0}));
}

TEST(TentAxis, WeightsAreTheFormula) {
  Dice dice(1);
  for (int round = 0; round < 200; ++round) {
    AxisMap map;
    map.scale[1] = dice.Real(-3, 3);
    map.offset[1] = dice.Real(-10, 30);
    const double half_width = std::max(1.0, RoundPosition(std::abs(map.scale[1])));
    const Index size = dice.Whole(1, 20);
    const Index low = dice.Whole(-5, 5);
    const Index count = dice.Whole(1, 12);
    const TentAxis axis(map, 1, low, count, half_width, size);
    std::vector<std::vector<float>> weights(count, std::vector<float>(size, 0.0f));
    for (Index sample = 0; sample < count; ++sample) {
      ASSERT_GE(axis.first(sample), 0);
      ASSERT_LE(axis.first(sample) + axis.taps(), size);
      for (Index tap = 0; tap < axis.taps(); ++tap) {
        weights[sample][axis.first(sample) + tap] = axis.weights(sample)[tap];
      }
      const double position = map.Position(1, low + sample);
      double total = 0.0;
      for (Index i = -100; i < 150; ++i) {
        total += std::max(0.0, 1.0 - std::abs(static_cast<double>(i) - position) / half_width);
      }
      for (Index i = 0; i < size; ++i) {
        const double tent = std::max(0.0, 1.0 - std::abs(static_cast<double>(i) - position) / half_width);
        EXPECT_NEAR(weights[sample][i], tent / total, 1e-7);
      }
    }
    // The same weights by source voxel.
    for (Index source = 0; source < size; ++source) {
      Index before = -1;
      for (const auto* share = axis.begin(source); share != axis.end(source); ++share) {
        EXPECT_GT(share->sample, before);
        before = share->sample;
        EXPECT_EQ(share->weight, weights[share->sample][source]);
        weights[share->sample][source] = 0.0f;
      }
    }
    for (const auto& row : weights) {
      for (const float weight : row) EXPECT_EQ(weight, 0.0f);
    }
  }
}

TEST(TentAxis, SpansHoldEveryWeight) {
  AxisMap map;
  map.scale[0] = 2.0;
  map.offset[0] = -9.0;
  const TentAxis axis(map, 0, 0, 20, 2.0, 10);
  using Range = std::pair<Index, Index>;
  EXPECT_EQ(axis.Span(0, 4), (Range{0, 0}));    // at -9 to -3
  EXPECT_EQ(axis.Span(0, 5), (Range{0, 4}));    // at -1: the first that reaches voxel 0
  EXPECT_EQ(axis.Span(6, 7), (Range{2, 6}));    // at 3
  EXPECT_EQ(axis.Span(11, 20), (Range{0, 0}));  // at 13 and beyond
}

}  // namespace
}  // namespace cmc::core
