#include "cmc_core/windows.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <set>
#include <stdexcept>

#include "cmc_tests/scans.h"

namespace cmc::core {
namespace {

using Starts = std::vector<Index>;

TEST(AxisStarts, ByHand) {
  EXPECT_EQ(AxisStarts(10, 4, 0.5), (Starts{0, 2, 4, 6}));
  EXPECT_EQ(AxisStarts(11, 4, 0.5), (Starts{0, 2, 4, 6, 7}));
  EXPECT_EQ(AxisStarts(10, 4, 0.0), (Starts{0, 4, 6}));
  EXPECT_EQ(AxisStarts(8, 4, 0.0), (Starts{0, 4}));
  EXPECT_EQ(AxisStarts(5, 3, 0.9), (Starts{0, 1, 2}));  // a step of 0.3 voxels counts as one
  EXPECT_EQ(AxisStarts(4, 4, 0.5), (Starts{0}));
  EXPECT_EQ(AxisStarts(3, 4, 0.5), (Starts{0}));  // the odd voxel of padding comes after
  EXPECT_EQ(AxisStarts(1, 6, 0.5), (Starts{-2}));
}

TEST(AxisStarts, BadInput) {
  EXPECT_THROW(AxisStarts(0, 4, 0.5), std::invalid_argument);
  EXPECT_THROW(AxisStarts(4, 0, 0.5), std::invalid_argument);
  EXPECT_THROW(AxisStarts(4, 4, 1.0), std::invalid_argument);
  EXPECT_THROW(AxisStarts(4, 4, -0.1), std::invalid_argument);
  EXPECT_THROW(AxisStarts(4, 4, std::nan("")), std::invalid_argument);
}

TEST(WindowStarts, CoverEveryVoxelOnceEachInCOrder) {
  Dice dice(1);
  for (int round = 0; round < 60; ++round) {
    const Size3 size = dice.Size(1, 20);
    const Size3 window = dice.Size(1, 9);
    const double overlap = dice.Real(0, 0.9);
    const std::vector<Size3> starts = WindowStarts(size, window, overlap);
    EXPECT_TRUE(std::is_sorted(starts.begin(), starts.end()));
    EXPECT_EQ(std::set<Size3>(starts.begin(), starts.end()).size(), starts.size());
    for (int axis = 0; axis < 3; ++axis) {
      std::vector<bool> covered(size[axis], false);
      for (const Size3& start : starts) {
        EXPECT_TRUE(size[axis] <= window[axis] || (start[axis] >= 0 && start[axis] + window[axis] <= size[axis]));
        for (Index i = 0; i < window[axis]; ++i) {
          if (start[axis] + i >= 0 && start[axis] + i < size[axis]) covered[start[axis] + i] = true;
        }
      }
      EXPECT_EQ(std::count(covered.begin(), covered.end(), false), 0);
    }
  }
}

TEST(GaussianAxes, AreTheFormula) {
  const Size3 window{8, 5, 1};
  const auto profiles = GaussianAxes(window);
  for (int axis = 0; axis < 3; ++axis) {
    ASSERT_EQ(static_cast<Index>(profiles[axis].size()), window[axis]);
    const auto n = static_cast<double>(window[axis]);
    for (Index i = 0; i < window[axis]; ++i) {
      const double d = (static_cast<double>(i) - (n - 1) / 2) / (0.125 * n);
      EXPECT_FLOAT_EQ(profiles[axis][i], static_cast<float>(std::max(std::exp(-d * d / 2), 1e-6)));
    }
  }
  EXPECT_EQ(profiles[2][0], 1.0f);
  EXPECT_EQ(GaussianAxes({64, 1, 1}, 0.02)[0][0], 1e-6f);
}

TEST(BlendProfiles, SumToOne) {
  Dice dice(2);
  for (int round = 0; round < 60; ++round) {
    const Index size = dice.Whole(1, 40);
    const Index window = dice.Whole(1, 12);
    const Starts starts = AxisStarts(size, window, dice.Real(0, 0.9));
    const auto divided = BlendProfiles(GaussianAxes({window, 1, 1})[0], starts, size);
    EXPECT_EQ(divided.size(), starts.size());
    std::vector<double> total(size, 0.0);
    for (const auto& [start, weights] : divided) {
      const Index low = std::max<Index>(start, 0);
      EXPECT_EQ(static_cast<Index>(weights.size()), std::min(start + window, size) - low);
      for (std::size_t i = 0; i < weights.size(); ++i) total[low + i] += static_cast<double>(weights[i]);
    }
    for (const double sum : total) EXPECT_NEAR(sum, 1.0, 1e-6);
  }
}

TEST(ConstantValue, SeesASingleVoxel) {
  for (const Index count : {1, 7, 1024, 1025, 5000, 20001}) {
    std::vector<float> window(count, 2.5f);
    EXPECT_EQ(ConstantValue(window.data(), count), 2.5f);
    if (count == 1) continue;
    for (const Index place : {Index{0}, Index{1}, count / 2, count - 1}) {
      std::vector<float> changed = window;
      changed[place] = std::nextafter(2.5f, 3.0f);
      EXPECT_EQ(ConstantValue(changed.data(), count), std::nullopt) << count << " " << place;
    }
  }
}

TEST(ConstantValue, NanIsNotConstant) {
  const std::vector<float> window(100, std::numeric_limits<float>::quiet_NaN());
  EXPECT_EQ(ConstantValue(window.data(), 100), std::nullopt);
  const std::vector<float> zeros{0.0f, -0.0f, 0.0f};
  EXPECT_EQ(ConstantValue(zeros.data(), 3), 0.0f);
}

TEST(LongestAxis, TheLastOnATie) {
  EXPECT_EQ(LongestAxis({9, 3, 3}), 0);
  EXPECT_EQ(LongestAxis({3, 9, 3}), 1);
  EXPECT_EQ(LongestAxis({3, 3, 9}), 2);
  EXPECT_EQ(LongestAxis({9, 9, 3}), 1);
  EXPECT_EQ(LongestAxis({5, 5, 5}), 2);
}

TEST(RingSize, OneSliceMoreThanTheWindow) {
  EXPECT_EQ(RingSize({20, 30, 10}, {8, 8, 8}), (Size3{20, 9, 10}));
  EXPECT_EQ(RingSize({20, 30, 10}, {8, 40, 8}), (Size3{20, 30, 10}));
  EXPECT_EQ(RingSize({6, 6, 6}, {8, 8, 8}), (Size3{6, 6, 6}));
}

}  // namespace
}  // namespace cmc::core
