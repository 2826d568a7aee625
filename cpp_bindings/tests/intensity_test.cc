#include "cmc_core/intensity.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <cstring>
#include <limits>
#include <map>
#include <stdexcept>
#include <vector>

#include "cmc_tests/scans.h"

namespace cmc::core {
namespace {

IntensityRule Clipped() {
  IntensityRule rule;
  rule.has_clip = true;
  rule.clip_low = -150.0;
  rule.clip_high = 250.0;
  return rule;
}

// The same figures from all voxels at once, in double.
template <typename T>
IntensityStatistics ByTheBook(Scan<T>& scan, const IntensityRule& rule) {
  const Size3 size = scan.view.size;
  std::map<T, Index> faces;
  Index voxels_in_faces = 0;
  scan.Each([&](T value, Index x, Index y, Index z) {
    const Index place[] = {x, y, z};
    for (int axis = 0; axis < 3; ++axis) {
      if (size[axis] < 3 || (place[axis] != 0 && place[axis] != size[axis] - 1)) continue;
      ++faces[value];
      ++voxels_in_faces;
    }
  });
  IntensityStatistics result;
  T most{};
  for (const auto& [value, count] : faces) {
    if (20 * (voxels_in_faces - count) > voxels_in_faces) continue;
    result.has_border = true;
    most = value;
  }
  float border = 0.0f;  // as the true value of a voxel that holds it
  scan.Each([&](T value, Index x, Index y, Index z) {
    if (value == most) border = scan.TrueValue(x, y, z);
  });
  result.minimum = std::numeric_limits<double>::infinity();
  result.maximum = -result.minimum;
  result.body_box = {size, Size3{}};
  double sum = 0.0, raw = 0.0, total = 0.0;
  std::vector<double> chosen;
  scan.Each([&](T, Index x, Index y, Index z) {
    const float value = scan.TrueValue(x, y, z);
    result.minimum = std::min(result.minimum, static_cast<double>(value));
    result.maximum = std::max(result.maximum, static_cast<double>(value));
    total += static_cast<double>(value);
    if (result.has_border ? value == border : !(value > 0.0f)) return;
    raw += static_cast<double>(value);
    double kept = static_cast<double>(value);
    if (rule.has_clip) kept = std::min(std::max(kept, rule.clip_low), rule.clip_high);
    chosen.push_back(kept);
    sum += kept;
    const Index place[] = {x, y, z};
    for (int axis = 0; axis < 3; ++axis) {
      result.body_box[0][axis] = std::min(result.body_box[0][axis], place[axis]);
      result.body_box[1][axis] = std::max(result.body_box[1][axis], place[axis] + 1);
    }
  });
  const auto count = static_cast<double>(chosen.size());
  const auto voxels = static_cast<double>(Count(size));
  result.background = result.has_border ? static_cast<double>(border) : result.minimum;
  result.foreground_fraction = count / voxels;
  result.foreground_mean = chosen.empty() ? total / voxels : raw / count;
  if (chosen.empty()) {
    result.body_box = {Size3{}, size};
    result.mean = result.background;
    if (rule.has_clip) result.mean = std::min(std::max(result.mean, rule.clip_low), rule.clip_high);
    return result;
  }
  result.mean = sum / count;
  double squares = 0.0;
  for (const double value : chosen) squares += (value - result.mean) * (value - result.mean);
  result.std = std::sqrt(squares / count);
  return result;
}

void ExpectEqual(const IntensityStatistics& found, const IntensityStatistics& expected) {
  const auto near = [](double a, double b) { EXPECT_NEAR(a, b, 1e-6 * std::max(1.0, std::abs(b))); };
  EXPECT_TRUE(found.finite);
  EXPECT_EQ(found.has_border, expected.has_border);
  EXPECT_EQ(found.background, expected.background);
  EXPECT_EQ(found.minimum, expected.minimum);
  EXPECT_EQ(found.maximum, expected.maximum);
  EXPECT_EQ(found.foreground_fraction, expected.foreground_fraction);
  EXPECT_EQ(found.body_box, expected.body_box);
  near(found.mean, expected.mean);
  near(found.std, expected.std);
  near(found.foreground_mean, expected.foreground_mean);
}

template <typename T>
class StatisticsOf : public testing::Test {};
using StoredTypes = testing::Types<std::uint8_t, std::int8_t, std::uint16_t, std::int16_t, std::uint32_t, std::int32_t,
                                   std::uint64_t, std::int64_t, float, double>;
TYPED_TEST_SUITE(StatisticsOf, StoredTypes, );  // the empty argument is what a pedantic Clang asks for

TYPED_TEST(StatisticsOf, NoiseInEveryLayout) {
  Dice dice(1);
  Threads threads(2);
  const bool is_signed = std::is_signed_v<TypeParam>;
  for (int round = 0; round < 40; ++round) {
    Scan<TypeParam> scan(dice.Size(1, dice.Chance(0.3) ? 40 : 9), dice.Layout());
    scan.FillNoise(dice.random, is_signed ? -120 : 0, 120);
    if (dice.Chance(0.6)) {  // a border, thicker on one side
      const auto border = static_cast<TypeParam>(dice.Whole(0, 3));
      scan.Each([&](TypeParam& value, Index x, Index y, Index z) {
        const Size3 size = scan.view.size;
        if (x < 2 || y < 1 || z < 1 || x == size[0] - 1 || y == size[1] - 1 || z >= size[2] - 3) value = border;
      });
      const Size3 size = scan.view.size;
      for (Index touched = dice.Chance(0.5) ? dice.Whole(0, 12) : 0; touched > 0; --touched) {  // by a body
        scan.At(dice.Whole(0, size[0] - 1), dice.Whole(0, size[1] - 1), 0) = static_cast<TypeParam>(5);
      }
    }
    if (dice.Chance(0.4)) {
      scan.view.slope = 1.75;
      scan.view.intercept = -40.0;
    }
    const IntensityRule rule = dice.Chance(0.5) ? Clipped() : IntensityRule{};
    ExpectEqual(Statistics(scan.view, rule, threads), ByTheBook(scan, rule));
  }
}

TEST(Statistics, DoNotDependOnTheNumberOfThreads) {
  Dice dice(2);
  Scan<std::int16_t> scan({130, 140, 150}, {kFortranOrder, {}, 1});
  scan.FillNoise(dice.random, -1000, 1500);
  Threads one(1);
  Threads four(4);
  const IntensityStatistics a = Statistics(scan.view, Clipped(), one);
  const IntensityStatistics b = Statistics(scan.view, Clipped(), four);
  EXPECT_EQ(a.mean, b.mean);
  EXPECT_EQ(a.std, b.std);
  EXPECT_EQ(a.foreground_mean, b.foreground_mean);
  ExpectEqual(b, ByTheBook(scan, Clipped()));
}

TEST(Statistics, RowsLongerThanAChunk) {
  Dice dice(3);
  Threads threads(2);
  for (const auto& order : {kFortranOrder, std::array<int, 3>{2, 0, 1}}) {
    Scan<float> scan({9000, 4, 5}, {order, {}, 1});
    scan.Each([&](float& value, Index x, Index, Index) {
      value = x > 4200 && x < 8800 ? static_cast<float>(dice.Real(-100, 100)) : 0.0f;
    });
    ExpectEqual(Statistics(scan.view, Clipped(), threads), ByTheBook(scan, Clipped()));
  }
}

TEST(Statistics, ALargeOffsetDoesNotLoseTheSpread) {
  Dice dice(4);
  Threads threads(2);
  Scan<float> scan({40, 40, 40});
  std::normal_distribution<double> noise(1e4, 0.5);
  scan.Each([&](float& value, Index, Index, Index) { value = static_cast<float>(noise(dice.random)); });
  EXPECT_NEAR(Statistics(scan.view, {}, threads).std, ByTheBook(scan, {}).std, 1e-7);
}

TEST(Statistics, OneValueIsAllBackground) {
  Threads threads(1);
  Scan<std::int16_t> scan({5, 5, 5});
  std::fill(scan.values.begin(), scan.values.end(), std::int16_t{-1024});
  const IntensityStatistics found = Statistics(scan.view, Clipped(), threads);
  EXPECT_TRUE(found.has_border);
  EXPECT_EQ(found.background, -1024.0);
  EXPECT_EQ(found.mean, -150.0);
  EXPECT_EQ(found.std, 0.0);
  EXPECT_EQ(found.foreground_fraction, 0.0);
  EXPECT_EQ(found.foreground_mean, -1024.0);
  EXPECT_EQ(found.body_box, (std::array<Size3, 2>{Size3{0, 0, 0}, Size3{5, 5, 5}}));
  float value = -1024.0f;
  Normalise(&value, 1, Clipped(), found);
  EXPECT_EQ(value, 0.0f);
}

TEST(Statistics, ThinAxesHaveNoBorder) {
  Threads threads(1);
  for (const Size3& size : {Size3{9, 9, 1}, Size3{9, 2, 9}, Size3{1, 1, 1}, Size3{2, 2, 2}, Size3{1, 1, 7}}) {
    Scan<float> scan(size);
    const bool expected = std::any_of(size.begin(), size.end(), [](Index count) { return count >= 3; });
    EXPECT_EQ(Statistics(scan.view, {}, threads).has_border, expected);
    scan.At(size[0] / 2, size[1] / 2, size[2] / 2) = 5.0f;
    EXPECT_EQ(Statistics(scan.view, {}, threads).foreground_fraction, 1.0 / static_cast<double>(Count(size)));
  }
}

TEST(Statistics, OneVoxelThatIsNotFiniteIsSeen) {
  Threads threads(2);
  Dice dice(5);
  constexpr double kInfinity = std::numeric_limits<double>::infinity();
  for (const double bad : {kInfinity, -kInfinity, std::nan(""), 1e300}) {  // the last is too large for FP32
    for (const Size3& place : {Size3{0, 0, 0}, Size3{8, 13, 7}, Size3{4, 6, 3}}) {
      Scan<double> scan({9, 14, 8});
      scan.FillNoise(dice.random, -5, 5);
      scan.At(place[0], place[1], place[2]) = bad;
      const IntensityStatistics found = Statistics(scan.view, Clipped(), threads);
      EXPECT_FALSE(found.finite);
      EXPECT_FALSE(found.has_border);
      for (const double figure : {found.background, found.mean, found.std, found.minimum, found.maximum,
                                  found.foreground_fraction, found.foreground_mean}) {
        EXPECT_TRUE(std::isnan(figure));
      }
    }
  }
  Scan<float> both({4, 4, 4});
  both.At(1, 1, 1) = std::numeric_limits<float>::infinity();
  both.At(2, 2, 2) = -std::numeric_limits<float>::infinity();
  EXPECT_FALSE(Statistics(both.view, {}, threads).finite);
}

TEST(Statistics, VoxelsNeedNotBeAligned) {
  Threads threads(1);
  Dice dice(6);
  Scan<double> scan({12, 9, 10});
  scan.FillNoise(dice.random, -9, 9);
  std::vector<std::byte> bytes(scan.values.size() * sizeof(double) + 1);
  std::memcpy(bytes.data() + 1, scan.values.data(), bytes.size() - 1);
  VolumeView shifted = scan.view;
  shifted.data = bytes.data() + 1;
  ExpectEqual(Statistics(shifted, {}, threads), ByTheBook(scan, {}));
}

TEST(Statistics, NothingIsRefused) {
  Threads threads(1);
  VolumeView none;
  EXPECT_THROW(Statistics(none, {}, threads), std::invalid_argument);
  Scan<float> scan({2, 2, 2});
  scan.view.size[1] = 0;
  EXPECT_THROW(Statistics(scan.view, {}, threads), std::invalid_argument);
}

TEST(Normalise, ByHand) {
  IntensityStatistics statistics;
  statistics.mean = 50.0;
  statistics.std = 25.0;
  const std::vector<float> raw{-1000.0f, -150.0f, 0.0f, 75.0f, 250.0f, 3000.0f};
  const auto normalised = [&](const IntensityRule& rule) {
    std::vector<float> values = raw;
    Normalise(values.data(), static_cast<Index>(values.size()), rule, statistics);
    return values;
  };
  EXPECT_EQ(normalised({}), (std::vector<float>{-42, -8, -2, 1, 8, 118}));
  EXPECT_EQ(normalised(Clipped()), (std::vector<float>{-8, -8, -2, 1, 8, 8}));
  IntensityRule unit = Clipped();
  unit.scale = Scale::kUnitRange;
  EXPECT_EQ(normalised(unit), (std::vector<float>{0, 0, 0.375f, 0.5625f, 1, 1}));
  unit.has_clip = false;  // counts as a z-score
  EXPECT_EQ(normalised(unit), (std::vector<float>{-42, -8, -2, 1, 8, 118}));
  statistics.std = 0.0;  // shifted only
  EXPECT_EQ(normalised({})[3], 25.0f);
}

}  // namespace
}  // namespace cmc::core
