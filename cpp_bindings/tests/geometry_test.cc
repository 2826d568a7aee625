#include "cmc_core/geometry.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <stdexcept>

#include "cmc_tests/scans.h"

namespace cmc::core {
namespace {

constexpr double kPi = 3.14159265358979323846;

double Distance(const Matrix4& a, const Matrix4& b) {
  double largest = 0.0;
  for (int i = 0; i < 16; ++i) largest = std::max(largest, std::abs(a[i] - b[i]));
  return largest;
}

double ColumnLength(const Matrix4& affine, int axis) {
  return std::sqrt(affine[axis] * affine[axis] + affine[4 + axis] * affine[4 + axis] +
                   affine[8 + axis] * affine[8 + axis]);
}

// Corners of a grid's extent in voxels of another grid.
std::vector<Point3> CornersIn(const Matrix4& other, const Matrix4& affine, const Size3& size) {
  const Matrix4 map = Multiply(Inverse(other), affine);
  std::vector<Point3> corners;
  for (int corner = 0; corner < 8; ++corner) {
    Point3 edge{};
    for (int axis = 0; axis < 3; ++axis) {
      edge[axis] = (corner >> axis & 1) != 0 ? static_cast<double>(size[axis]) - 0.5 : -0.5;
    }
    corners.push_back(Apply(map, edge));
  }
  return corners;
}

void ExpectCovers(const ModelGrid& grid, const Matrix4& affine, const Size3& size) {
  for (const Point3& corner : CornersIn(grid.affine_mm, affine, size)) {
    for (int axis = 0; axis < 3; ++axis) {
      EXPECT_GE(corner[axis], -0.5 - 1e-3);
      EXPECT_LE(corner[axis], static_cast<double>(grid.size[axis]) - 0.5 + 1e-3);
    }
  }
}

TEST(RoundPosition, HalvesToEven) {
  EXPECT_EQ(RoundPosition(1.2345674), 1.234567);
  EXPECT_EQ(RoundPosition(-1.2345676), -1.234568);
  EXPECT_EQ(RoundPosition(2.9999999999), 3.0);
  EXPECT_EQ(RoundPosition(0.5e-6), 0.0);
  EXPECT_EQ(RoundPosition(1.5e-6), 2e-6);
}

TEST(Inverse, TimesItselfIsTheIdentity) {
  Dice dice(1);
  for (int round = 0; round < 100; ++round) {
    const Matrix4 affine = MoveCentre(MakeAffine(dice.Grid(true)), {9, 9, 9}, dice.Point(-500, 500));
    EXPECT_LT(Distance(Multiply(affine, Inverse(affine)), Identity()), 1e-10);
    EXPECT_LT(Distance(Multiply(Inverse(affine), affine), Identity()), 1e-10);
  }
  EXPECT_EQ(Inverse({2, 0, 0, 6, 0, 0, -4, 0, 0, 0.5, 0, 1, 0, 0, 0, 1}),
            (Matrix4{0.5, 0, 0, -3, 0, 0, 2, -2, 0, -0.25, 0, 0, 0, 0, 0, 1}));
}

TEST(Inverse, SingularIsRefused) {
  EXPECT_THROW(Inverse({1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0, 0, 1}), std::invalid_argument);
  EXPECT_THROW(Inverse({1, 2, 3, 0, 2, 4, 6, 0, 0.1, 5, 1, 0, 0, 0, 0, 1}), std::invalid_argument);
  Matrix4 bad = Identity();
  bad[5] = std::numeric_limits<double>::quiet_NaN();
  EXPECT_THROW(Inverse(bad), std::invalid_argument);
}

TEST(NearestRas, FindsEveryOrderAndFlipBehindATilt) {
  Dice dice(2);
  std::array<int, 3> order{0, 1, 2};
  do {
    for (int flips = 0; flips < 8; ++flips) {
      GridShape shape;
      shape.order = order;
      for (int axis = 0; axis < 3; ++axis) shape.signs[axis] = (flips >> axis & 1) != 0 ? -1.0 : 1.0;
      shape.spacing = dice.Point(0.5, 4);
      shape.angles = dice.Point(-0.25, 0.25);
      shape.shear = 0.1;
      const NearestAxes found = NearestRas(MakeAffine(shape));
      for (int axis = 0; axis < 3; ++axis) {
        EXPECT_EQ(found.source_axis[order[axis]], axis);
        EXPECT_EQ(found.flipped[order[axis]], shape.signs[axis] < 0);
      }
    }
  } while (std::next_permutation(order.begin(), order.end()));
}

TEST(NearestRas, TheFirstOrderOnATie) {
  for (const double angle : {kPi / 4, -kPi / 4}) {
    for (int axis = 0; axis < 3; ++axis) {
      GridShape shape;
      shape.angles[axis] = angle;
      shape.spacing = {0.7, 1.3, 2.9};
      EXPECT_EQ(NearestRas(MakeAffine(shape)).source_axis, (std::array<int, 3>{0, 1, 2}));
    }
  }
}

TEST(NearestRas, AnAxisWithoutLengthIsRefused) {
  EXPECT_THROW(NearestRas({0, 0, 0, 0, 0, 1, 0, 0, 0, 0, 1, 0, 0, 0, 0, 1}), std::invalid_argument);
}

TEST(MakeModelGrid, KeepsAxesCentreAndExtent) {
  Dice dice(3);
  for (int round = 0; round < 100; ++round) {
    const Matrix4 affine = MoveCentre(MakeAffine(dice.Grid(dice.Chance(0.7))), {3, 3, 3}, dice.Point(-90, 90));
    const Size3 size = dice.Size(1, 60);
    const Point3 spacing = dice.Point(0.5, 4);
    const ModelGrid grid = MakeModelGrid(affine, size, spacing);
    ExpectCovers(grid, affine, size);
    const NearestAxes nearest = NearestRas(affine);
    const Point3 centre = CentreOf(affine, size);
    const Point3 found = CentreOf(grid.affine_mm, grid.size);
    for (int row = 0; row < 3; ++row) {
      const int axis = nearest.source_axis[row];
      EXPECT_NEAR(ColumnLength(grid.affine_mm, row), spacing[row], 1e-12);
      EXPECT_NEAR(centre[row], found[row], 1e-9);
      // Parallel to the volume's own axis, and not one voxel more than is needed.
      const double ratio = spacing[row] / ColumnLength(affine, axis) * (nearest.flipped[row] ? -1 : 1);
      for (int other = 0; other < 3; ++other) {
        EXPECT_NEAR(grid.affine_mm[4 * other + row], affine[4 * other + axis] * ratio, 1e-12);
      }
      EXPECT_LT(static_cast<double>(grid.size[row] - 1) * spacing[row],
                static_cast<double>(size[axis]) * ColumnLength(affine, axis));
    }
    EXPECT_EQ(NearestRas(grid.affine_mm).source_axis, (std::array<int, 3>{0, 1, 2}));
    EXPECT_EQ(NearestRas(grid.affine_mm).flipped, (std::array<bool, 3>{}));
  }
}

TEST(MakeModelGrid, AnExactFitIsNotRoundedUp) {
  GridShape shape;
  shape.spacing = {0.8, 0.8, 2.5};
  for (const double angle : {0.0, 0.1, 0.2, 0.3, 0.4, 0.5}) {  // lengths of turned axes are not quite those
    shape.angles = {angle, -angle / 2, angle / 3};
    EXPECT_EQ(MakeModelGrid(MakeAffine(shape), {512, 512, 200}, {1.6, 0.4, 0.5}).size, (Size3{256, 1024, 1000}));
  }
  EXPECT_EQ(MakeModelGrid(Identity(), {1, 1, 1}, {5, 5, 5}).size, (Size3{1, 1, 1}));
}

TEST(MakeModelGrid, BadInput) {
  EXPECT_THROW(MakeModelGrid(Identity(), {4, 0, 4}, {1, 1, 1}), std::invalid_argument);
  EXPECT_THROW(MakeModelGrid(Identity(), {4, 4, 4}, {1, 0, 1}), std::invalid_argument);
  EXPECT_THROW(MakeModelGrid(Identity(), {4, 4, 4}, {1, 1e-300, 1}), std::invalid_argument);
}

TEST(ExtendGrid, CoversBothInTheSamePhase) {
  Dice dice(4);
  for (int round = 0; round < 100; ++round) {
    const Matrix4 affine = MakeAffine(dice.Grid(true));
    const Size3 size = dice.Size(1, 30);
    const ModelGrid grid = MakeModelGrid(affine, size, {1.5, 1.5, 2.0});
    const Size3 other_size = dice.Size(1, 30);
    const Matrix4 other = MoveCentre(MakeAffine(dice.Grid(true)), other_size, dice.Point(-40, 40));
    const ModelGrid wide = ExtendGrid(grid, other, other_size);
    ExpectCovers(wide, other, other_size);
    ExpectCovers(wide, grid.affine_mm, grid.size);
    const Matrix4 phase = Multiply(Inverse(grid.affine_mm), wide.affine_mm);
    for (int row = 0; row < 3; ++row) {
      EXPECT_NEAR(phase[4 * row + 3], std::round(phase[4 * row + 3]), 1e-6);
      for (int axis = 0; axis < 3; ++axis) {
        EXPECT_EQ(wide.affine_mm[4 * row + axis], grid.affine_mm[4 * row + axis]);
      }
    }
  }
}

TEST(ExtendGrid, WhatCoversAlreadyStays) {
  const ModelGrid grid{Identity(), {20, 20, 20}};
  const ModelGrid same = ExtendGrid(grid, MoveStart(Identity(), {2, 0, 5}), {18, 20, 15});
  EXPECT_EQ(same.size, grid.size);
  EXPECT_EQ(same.affine_mm, grid.affine_mm);
  EXPECT_THROW(ExtendGrid(grid, MoveStart(Identity(), {Index{1} << 40, 0, 0}), {2, 2, 2}), std::invalid_argument);
}

TEST(BoxesOverlap, TouchingIsNotEnough) {
  Matrix4 moved = Identity();
  moved[3] = 4.0;
  EXPECT_FALSE(BoxesOverlap(Identity(), {4, 4, 4}, moved, {4, 4, 4}));
  moved[3] = 3.9;
  EXPECT_TRUE(BoxesOverlap(Identity(), {4, 4, 4}, moved, {4, 4, 4}));
}

TEST(BoxesOverlap, CrossedRodsAreToldApartByTheirEdges) {
  GridShape x, y;
  x.angles = {kPi / 4, 0, 0};
  y.angles = {0, kPi / 4, 0};
  const Matrix4 first = MoveCentre(MakeAffine(x), {20, 1, 1}, {0, 0, 0});
  for (const double height : {1.3, 1.5}) {  // the edges meet at the square root of 2
    const Matrix4 second = MoveCentre(MakeAffine(y), {1, 20, 1}, {0, 0, height});
    EXPECT_EQ(BoxesOverlap(first, {20, 1, 1}, second, {1, 20, 1}), height < 1.4);
  }
}

TEST(BoxesOverlap, AgreesWithLookingForACommonPoint) {
  Dice dice(5);
  int overlapping = 0;
  for (int round = 0; round < 200; ++round) {
    const Size3 size{5, 4, 6};
    const Size3 other_size{6, 5, 3};
    const Matrix4 first = MoveCentre(MakeAffine(dice.Grid(true)), size, {0, 0, 0});
    const Matrix4 second = MoveCentre(MakeAffine(dice.Grid(true)), other_size, dice.Point(-15, 15));
    const bool found = BoxesOverlap(first, size, second, other_size);
    EXPECT_EQ(found, BoxesOverlap(second, other_size, first, size));
    const Matrix4 map = Multiply(Inverse(second), first);
    bool common = false;
    constexpr int kPoints = 10;
    for (int i = 0; i < kPoints * kPoints * kPoints; ++i) {
      const int place[] = {i % kPoints, i / kPoints % kPoints, i / kPoints / kPoints};
      Point3 point{};
      for (int axis = 0; axis < 3; ++axis) {
        point[axis] = -0.499 + (static_cast<double>(size[axis]) - 0.002) * place[axis] / (kPoints - 1);
      }
      point = Apply(map, point);
      bool inside = true;
      for (int axis = 0; axis < 3; ++axis) {
        inside = inside && point[axis] > -0.5 && point[axis] < static_cast<double>(other_size[axis]) - 0.5;
      }
      common = common || inside;
    }
    EXPECT_TRUE(found || !common);
    overlapping += common ? 1 : 0;
  }
  EXPECT_GT(overlapping, 20);
  EXPECT_LT(overlapping, 180);
}

TEST(AlignAxes, ReadsPermutationsFlipsScalesAndShifts) {
  const Matrix4 matrix{0, 0, 2, 5, -0.5, 0, 0, 7, 0, 1.5, 0, -3, 0, 0, 0, 1};
  const auto map = AlignAxes(matrix, {10, 20, 30});
  ASSERT_TRUE(map);
  EXPECT_EQ(map->target_axis, (std::array<int, 3>{1, 2, 0}));
  EXPECT_EQ(map->scale, (Point3{-0.5, 1.5, 2.0}));
  EXPECT_EQ(map->offset, (Point3{7.0, -3.0, 5.0}));
  EXPECT_EQ(map->Position(0, 4), 5.0);
  EXPECT_EQ(map->Position(2, 1), 7.0);
}

TEST(AlignAxes, SmallTermsCountByHowFarTheyCarry) {
  Matrix4 matrix = Identity();
  matrix[1] = 1e-4;  // y carries x by 1e-4 voxel a step
  EXPECT_TRUE(AlignAxes(matrix, {100, 10, 100}));
  EXPECT_FALSE(AlignAxes(matrix, {100, 12, 100}));
  matrix[2] = 2e-5;  // z too: the sum counts
  EXPECT_TRUE(AlignAxes(matrix, {100, 10, 3}));
  EXPECT_FALSE(AlignAxes(matrix, {100, 10, 100}));
  EXPECT_FALSE(AlignAxes({1, 1, 0, 0, 0.1, 0.2, 0, 0, 0, 0, 1, 0, 0, 0, 0, 1}, {1, 1, 1}));  // both run along x
  EXPECT_TRUE(AlignAxes(MakeAffine({}), {1, 1, 1}));
}

}  // namespace
}  // namespace cmc::core
