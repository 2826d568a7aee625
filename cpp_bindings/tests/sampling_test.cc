#include "cmc_core/sampling.h"

#include <gtest/gtest.h>

#include <cmath>
#include <stdexcept>
#include <vector>

#include "cmc_tests/sampling_reference.h"
#include "cmc_tests/scans.h"

namespace cmc::core {
namespace {

std::vector<float> Linear(const VolumeView& volume, const Matrix4& affine, const Size3& size, double background,
                          int count = 2) {
  Threads threads(count);
  std::vector<float> out(Count(size), std::nanf(""));
  SampleLinear(volume, affine, size, static_cast<float>(background), out.data(), threads);
  return out;
}

template <typename T>
std::vector<T> Nearest(const VolumeView& volume, const Matrix4& affine, const Size3& size, T background) {
  Threads threads(2);
  std::vector<T> out(Count(size), T{77});
  SampleNearest(volume, affine, size, reinterpret_cast<const std::byte*>(&background),
                reinterpret_cast<std::byte*>(out.data()), threads);
  return out;
}

// A scan anywhere, and a window whose centre lies near its own.
template <typename T>
struct Pair {
  Pair(Dice& dice, bool oblique) : scan(dice.Size(1, 8), dice.Layout()), size(dice.Size(1, 6)) {
    scan.FillNoise(dice.random, std::is_signed_v<T> ? -100 : 0, 100);
    const Point3 centre = dice.Point(-200, 200);
    scan.view.affine_mm = MoveCentre(MakeAffine(dice.Grid(oblique)), scan.view.size, centre);
    Point3 moved = dice.Point(-6, 6);
    for (int axis = 0; axis < 3; ++axis) moved[axis] += centre[axis];
    window = MoveCentre(MakeAffine(dice.Grid(oblique)), size, moved);
  }

  Scan<T> scan;
  Size3 size;
  Matrix4 window;
};

template <typename T>
class Sampling : public testing::Test {};
using StoredTypes = testing::Types<std::uint8_t, std::int8_t, std::uint16_t, std::int16_t, std::uint32_t, std::int32_t,
                                   std::uint64_t, std::int64_t, float, double>;
TYPED_TEST_SUITE(Sampling, StoredTypes, );  // the empty argument is what a pedantic Clang asks for

TYPED_TEST(Sampling, LinearIsTheDefinition) {
  Dice dice(1);
  for (int round = 0; round < 60; ++round) {
    Pair<TypeParam> pair(dice, round % 2 == 1);
    if (dice.Chance(0.3)) {
      pair.scan.view.slope = 0.5;
      pair.scan.view.intercept = -10.0;
    }
    const std::vector<float> found = Linear(pair.scan.view, pair.window, pair.size, -37.5);
    EXPECT_LT(LargestDifference(found, LinearByTheBook(pair.scan, pair.window, pair.size, -37.5)), 5e-4);
  }
}

TYPED_TEST(Sampling, NearestIsTheDefinition) {
  Dice dice(2);
  for (int round = 0; round < 60; ++round) {
    Pair<TypeParam> pair(dice, round % 2 == 1);
    const std::vector<TypeParam> found = Nearest<TypeParam>(pair.scan.view, pair.window, pair.size, TypeParam{9});
    const Matrix4 map = Multiply(Inverse(pair.scan.view.affine_mm), pair.window);
    std::size_t i = 0;
    for (Index x = 0; x < pair.size[0]; ++x) {
      for (Index y = 0; y < pair.size[1]; ++y) {
        for (Index z = 0; z < pair.size[2]; ++z, ++i) {
          const Point3 at = SourcePosition(map, x, y, z);
          Size3 place{};
          bool inside = true;
          for (int axis = 0; axis < 3; ++axis) {
            place[axis] = static_cast<Index>(std::floor(at[axis] + 0.5));
            inside = inside && place[axis] >= 0 && place[axis] < pair.scan.view.size[axis];
          }
          EXPECT_EQ(found[i], inside ? pair.scan.At(place[0], place[1], place[2]) : TypeParam{9});
        }
      }
    }
  }
}

TEST(SampleLinear, LargeWindowsAreMadeOfParts) {
  Dice dice(3);
  for (const bool oblique : {false, true}) {
    for (const double ratio : {0.4, 1.0, 2.3}) {
      Scan<std::int16_t> scan({90, 41, 23}, {oblique ? std::array<int, 3>{1, 2, 0} : kFortranOrder, {}, 1});
      scan.FillNoise(dice.random, -1000, 1000);
      GridShape shape;
      shape.order = {2, 0, 1};
      shape.signs = {1, -1, 1};
      shape.spacing = {ratio, 1.3 * ratio, 0.9 * ratio};
      if (oblique) shape.angles = {0.3, -0.2, 0.1};
      const Size3 size{19, 70, 37};
      const Matrix4 window = MoveCentre(MakeAffine(shape), size, CentreOf(scan.view.affine_mm, scan.view.size));
      const std::vector<float> found = Linear(scan.view, window, size, -1000.0, 3);
      EXPECT_LT(LargestDifference(found, LinearByTheBook(scan, window, size, -1000.0)), 2e-3);
      EXPECT_EQ(found, Linear(scan.view, window, size, -1000.0, 1));
    }
  }
}

// Neighbours of a single sample do not fit into memory at once.
TEST(SampleLinear, StrongReduction) {
  Dice dice(4);
  Scan<std::uint8_t> scan({160, 150, 170}, {kFortranOrder, {}, 1});
  scan.FillNoise(dice.random, 0, 255);
  GridShape shape;
  shape.spacing = {60, 50, 70};
  for (const double angle : {0.0, 0.2}) {
    shape.angles = {angle, angle, 0};
    const Matrix4 window = MoveCentre(MakeAffine(shape), {2, 2, 2}, CentreOf(Identity(), scan.view.size));
    EXPECT_LT(
        LargestDifference(Linear(scan.view, window, {2, 2, 2}, 3.0), LinearByTheBook(scan, window, {2, 2, 2}, 3.0)),
        1e-3);
  }
}

TEST(SampleLinear, TheOwnGridIsReturnedExactly) {
  Dice dice(5);
  GridShape shape;
  shape.order = {2, 0, 1};
  shape.signs = {-1, 1, -1};
  shape.spacing = {0.7, 1.3, 2.9};
  shape.angles = {0.3, 0.1, -0.2};
  Scan<std::int16_t> scan({5, 6, 7}, {{1, 0, 2}, {false, true, false}, 1});
  scan.FillNoise(dice.random, -500, 500);
  scan.view.affine_mm = MakeAffine(shape);
  const std::vector<float> found = Linear(scan.view, scan.view.affine_mm, {5, 6, 7}, -5.0);
  std::size_t i = 0;
  scan.Each([&](std::int16_t value, Index, Index, Index) { EXPECT_EQ(found[i++], static_cast<float>(value)); });
  // Around it there is background.
  const std::vector<float> wide = Linear(scan.view, MoveStart(scan.view.affine_mm, {-2, -1, -3}), {9, 8, 13}, -5.0);
  i = 0;
  for (Index x = -2; x < 7; ++x) {
    for (Index y = -1; y < 7; ++y) {
      for (Index z = -3; z < 10; ++z) {
        const bool inside = x >= 0 && x < 5 && y >= 0 && y < 6 && z >= 0 && z < 7;
        EXPECT_EQ(wide[i++], inside ? static_cast<float>(scan.At(x, y, z)) : -5.0f);
      }
    }
  }
}

TEST(SampleLinear, BackgroundStaysExact) {
  Scan<float> scan({20, 20, 20});
  std::fill(scan.values.begin(), scan.values.end(), -1023.7f);
  Dice dice(6);
  for (const bool oblique : {false, true}) {
    for (int round = 0; round < 20; ++round) {
      const Matrix4 window = MoveCentre(MakeAffine(dice.Grid(oblique)), {20, 20, 20}, dice.Point(0, 20));
      for (const float value : Linear(scan.view, window, {20, 20, 20}, static_cast<double>(-1023.7f))) {
        EXPECT_EQ(value, -1023.7f);
      }
    }
  }
  Matrix4 far = Identity();
  far[3] = 1e12;
  for (const float value : Linear(scan.view, far, {3, 3, 3}, -5.0)) EXPECT_EQ(value, -5.0f);
  GridShape turned;
  turned.angles = {0.1, 0.2, 0.3};
  far = MoveCentre(MakeAffine(turned), {3, 3, 3}, {1e12, -1e12, 1e12});
  for (const float value : Linear(scan.view, far, {3, 3, 3}, -5.0)) EXPECT_EQ(value, -5.0f);
}

TEST(SampleLinear, AnAlmostAlignedGridIsTheAlignedOne) {
  Dice dice(7);
  Scan<float> scan({12, 12, 12});
  scan.FillNoise(dice.random, -1, 1);
  Matrix4 straight = Identity();
  straight[0] = 1.4;
  Matrix4 tilted = straight;
  tilted[1] = 5e-5;  // 5.5e-4 voxels over the window
  EXPECT_EQ(Linear(scan.view, tilted, {8, 12, 12}, 0.0), Linear(scan.view, straight, {8, 12, 12}, 0.0));
  tilted[1] = 2e-4;
  EXPECT_NE(Linear(scan.view, tilted, {8, 12, 12}, 0.0), Linear(scan.view, straight, {8, 12, 12}, 0.0));
  EXPECT_LT(
      LargestDifference(Linear(scan.view, tilted, {8, 12, 12}, 0.0), Linear(scan.view, straight, {8, 12, 12}, 0.0)),
      0.02);
}

TEST(SampleLinear, MemoryIsBounded) {
  for (const double angle : {0.0, 0.4}) {
    Scan<std::uint8_t> scan({300, 300, 60}, {kFortranOrder, {}, 1});
    GridShape shape;
    shape.spacing = {0.5, 0.5, 0.5};
    shape.angles = {angle, 0, 0};
    CountedMemory memory;
    Threads threads(2);
    std::vector<float> out(200 * 200 * 100);
    SampleLinear(scan.view, MakeAffine(shape), {200, 200, 100}, 0.0f, out.data(), threads, &memory);
    EXPECT_GT(memory.peak(), 0);
    EXPECT_LT(memory.peak(), 2 * (Index{4} << 20));
    EXPECT_EQ(memory.held(), 0);
  }
}

TEST(SampleNearest, TheHigherIndexOnATie) {
  Scan<std::int16_t> scan({4, 1, 1});
  for (Index x = 0; x < 4; ++x) scan.At(x, 0, 0) = static_cast<std::int16_t>(x + 1);
  Matrix4 window = Identity();
  window[3] = -0.5;
  EXPECT_EQ(Nearest<std::int16_t>(scan.view, window, {6, 1, 1}, 0), (std::vector<std::int16_t>{1, 2, 3, 4, 0, 0}));
  window[3] = -0.500002;
  EXPECT_EQ(Nearest<std::int16_t>(scan.view, window, {6, 1, 1}, 0), (std::vector<std::int16_t>{0, 1, 2, 3, 4, 0}));
}

TEST(SampleNearest, StoredValuesAreNotScaled) {
  Scan<std::int16_t> scan({3, 3, 3});
  std::fill(scan.values.begin(), scan.values.end(), std::int16_t{12});
  scan.view.slope = 2.0;
  scan.view.intercept = 5.0;
  EXPECT_EQ(Nearest<std::int16_t>(scan.view, Identity(), {1, 1, 1}, 0), (std::vector<std::int16_t>{12}));
}

TEST(Sampling, BadInput) {
  Scan<float> scan({3, 3, 3});
  EXPECT_THROW(Linear(scan.view, Identity(), {0, 2, 2}, 0.0), std::invalid_argument);
  EXPECT_THROW(Nearest<float>(scan.view, Identity(), {2, 2, 0}, 0.0f), std::invalid_argument);
  VolumeView flat = scan.view;
  flat.affine_mm[0] = 0.0;
  EXPECT_THROW(Linear(flat, Identity(), {2, 2, 2}, 0.0), std::invalid_argument);
  EXPECT_THROW(Nearest<float>(flat, Identity(), {2, 2, 2}, 0.0f), std::invalid_argument);
  Matrix4 lost = Identity();
  lost[3] = std::nan("");
  EXPECT_THROW(Linear(scan.view, lost, {2, 2, 2}, 0.0), std::invalid_argument);
  EXPECT_THROW(Nearest<float>(scan.view, lost, {2, 2, 2}, 0.0f), std::invalid_argument);
  EXPECT_THROW(Linear(VolumeView{}, Identity(), {2, 2, 2}, 0.0), std::invalid_argument);
}

}  // namespace
}  // namespace cmc::core
