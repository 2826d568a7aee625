#include "cmc_core/geometry.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <stdexcept>

namespace cmc::core {
namespace {

using Corners = std::array<Point3, 8>;

double At(const Matrix4& matrix, int row, int column) { return matrix[4 * row + column]; }
double& At(Matrix4& matrix, int row, int column) { return matrix[4 * row + column]; }

Matrix4 Identity() { return {1, 0, 0, 0, 0, 1, 0, 0, 0, 0, 1, 0, 0, 0, 0, 1}; }

Point3 Column(const Matrix4& matrix, int column) {
  return {At(matrix, 0, column), At(matrix, 1, column), At(matrix, 2, column)};
}

double Dot(const Point3& a, const Point3& b) { return a[0] * b[0] + a[1] * b[1] + a[2] * b[2]; }

Point3 Cross(const Point3& a, const Point3& b) {
  return {a[1] * b[2] - a[2] * b[1], a[2] * b[0] - a[0] * b[2], a[0] * b[1] - a[1] * b[0]};
}

double Length(const Point3& a) { return std::sqrt(Dot(a, a)); }

Point3 Transform(const Matrix4& matrix, const Point3& point) {
  Point3 out{};
  for (int row = 0; row < 3; ++row) {
    out[row] = At(matrix, row, 0) * point[0] + At(matrix, row, 1) * point[1] + At(matrix, row, 2) * point[2] +
               At(matrix, row, 3);
  }
  return out;
}

Point3 Centre(const Size3& size) {
  Point3 centre{};
  for (int axis = 0; axis < 3; ++axis) centre[axis] = static_cast<double>(size[axis] - 1) / 2;
  return centre;
}

// The corners of a grid's extent, half a voxel beyond the outer centres, through `matrix`.
Corners MapCorners(const Matrix4& matrix, const Size3& size) {
  Corners corners{};
  for (int corner = 0; corner < 8; ++corner) {
    Point3 edge{};
    for (int axis = 0; axis < 3; ++axis) {
      edge[axis] = (corner >> axis & 1) != 0 ? static_cast<double>(size[axis]) - 0.5 : -0.5;
    }
    corners[corner] = Transform(matrix, edge);
  }
  return corners;
}

// The orthogonal matrix nearest to the voxel axes' directions, spacing and shear taken out: the polar factor, by
// Newton's iteration X <- (X + X^-T) / 2.
Matrix4 NearestRotation(const Matrix4& affine_mm) {
  Matrix4 turn = Identity();
  for (int axis = 0; axis < 3; ++axis) {
    const Point3 column = Column(affine_mm, axis);
    const double length = Length(column);
    if (!(length > 0.0)) throw std::invalid_argument("affine: a voxel axis has no length");
    for (int row = 0; row < 3; ++row) At(turn, row, axis) = column[row] / length;
  }
  constexpr int kMostSteps = 100;  // a few are enough; nearly flat grids take more
  for (int step = 0; step < kMostSteps; ++step) {
    const Matrix4 inverse = Inverse(turn);
    double moved = 0.0;
    for (int row = 0; row < 3; ++row) {
      for (int column = 0; column < 3; ++column) {
        const double change = (At(inverse, column, row) - At(turn, row, column)) / 2;
        moved = std::max(moved, std::abs(change));
        At(turn, row, column) += change;
      }
    }
    if (moved < 1e-15) break;
  }
  return turn;
}

}  // namespace

double RoundPosition(double value) { return std::nearbyint(value * 1e6) / 1e6; }

double AxisMap::Position(int axis, Index index) const {
  return RoundPosition(static_cast<double>(index) * scale[axis] + offset[axis]);
}

Matrix4 Multiply(const Matrix4& a, const Matrix4& b) {
  Matrix4 product{};
  for (int row = 0; row < 4; ++row) {
    for (int column = 0; column < 4; ++column) {
      double sum = 0.0;
      for (int inner = 0; inner < 4; ++inner) sum += At(a, row, inner) * At(b, inner, column);
      At(product, row, column) = sum;
    }
  }
  return product;
}

Matrix4 Inverse(const Matrix4& matrix) {
  Matrix4 left = matrix;
  Matrix4 right = Identity();
  for (int column = 0; column < 4; ++column) {
    int pivot = column;
    for (int row = column + 1; row < 4; ++row) {
      if (std::abs(At(left, row, column)) > std::abs(At(left, pivot, column))) pivot = row;
    }
    const double value = At(left, pivot, column);
    // What elimination leaves of a dependent column is rounding error: small beside what the column was.
    double largest = 0.0;
    for (int row = 0; row < 4; ++row) largest = std::max(largest, std::abs(At(matrix, row, column)));
    if (!(std::abs(value) > 1e-14 * largest) || !std::isfinite(value)) {
      throw std::invalid_argument("affine: the matrix is singular or not finite");
    }
    for (int other = 0; other < 4; ++other) {
      std::swap(At(left, pivot, other), At(left, column, other));
      std::swap(At(right, pivot, other), At(right, column, other));
    }
    for (int row = 0; row < 4; ++row) {
      if (row == column) continue;
      const double factor = At(left, row, column) / value;
      if (factor == 0.0) continue;
      for (int other = 0; other < 4; ++other) {
        At(left, row, other) -= factor * At(left, column, other);
        At(right, row, other) -= factor * At(right, column, other);
      }
    }
  }
  for (int row = 0; row < 4; ++row) {
    for (int column = 0; column < 4; ++column) At(right, row, column) /= At(left, row, row);
  }
  return right;
}

NearestAxes NearestRas(const Matrix4& affine_mm) {
  const Matrix4 cosines = NearestRotation(affine_mm);
  std::array<int, 3> order{0, 1, 2};
  NearestAxes best{order, {}};
  double best_score = -1.0;
  do {
    double score = 0.0;
    for (int axis = 0; axis < 3; ++axis) score += std::abs(At(cosines, axis, order[axis]));
    // An axis at exactly 45 degrees must not hang on rounding: the first order keeps its place on a tie.
    if (score > best_score + 1e-9) {
      best.source_axis = order;
      best_score = score;
    }
  } while (std::next_permutation(order.begin(), order.end()));
  for (int axis = 0; axis < 3; ++axis) {
    best.flipped[axis] = At(cosines, axis, best.source_axis[axis]) < 0;
  }
  return best;
}

ModelGrid MakeModelGrid(const Matrix4& affine_mm, const Size3& size, const Point3& spacing_mm) {
  const NearestAxes nearest = NearestRas(affine_mm);
  ModelGrid grid{Identity(), {}};
  for (int row = 0; row < 3; ++row) {
    const int axis = nearest.source_axis[row];
    const Point3 column = Column(affine_mm, axis);
    const double length = Length(column);
    const Index count = size[axis];
    const double step = spacing_mm[row];
    if (count < 1 || !(step > 0.0)) throw std::invalid_argument("model grid: sizes and spacings must be positive");
    // A hair's breadth is taken off, so that an exact fit is not rounded up to one voxel more.
    const double voxels = std::ceil(static_cast<double>(count) * length / step - 1e-4);
    if (!(voxels < 1e9)) throw std::invalid_argument("model grid: too many voxels along an axis");
    grid.size[row] = std::max<Index>(1, static_cast<Index>(voxels));
    const double sign = nearest.flipped[row] ? -1.0 : 1.0;
    for (int other = 0; other < 3; ++other) {
      At(grid.affine_mm, other, row) = column[other] / length * sign * step;
    }
  }
  const Point3 centre = Transform(affine_mm, Centre(size));
  const Point3 reach = Transform(grid.affine_mm, Centre(grid.size));  // the origin is still 0
  for (int row = 0; row < 3; ++row) At(grid.affine_mm, row, 3) = centre[row] - reach[row];
  return grid;
}

ModelGrid ExtendGrid(const ModelGrid& grid, const Matrix4& affine_mm, const Size3& size) {
  const Corners corners = MapCorners(Multiply(Inverse(grid.affine_mm), affine_mm), size);
  ModelGrid wide = grid;
  Point3 added{};
  for (int axis = 0; axis < 3; ++axis) {
    double low = corners[0][axis];
    double high = corners[0][axis];
    for (const Point3& corner : corners) {
      low = std::min(low, corner[axis]);
      high = std::max(high, corner[axis]);
    }
    if (!(std::abs(low) < 1e9 && std::abs(high) < 1e9)) throw std::invalid_argument("grid: too far away to extend to");
    const Index first = std::min<Index>(0, static_cast<Index>(std::floor(low + 0.5 + 1e-4)));
    const Index end = std::max(grid.size[axis], static_cast<Index>(std::ceil(high + 0.5 - 1e-4)));
    added[axis] = static_cast<double>(first);
    wide.size[axis] = end - first;
  }
  const Point3 origin = Transform(grid.affine_mm, added);
  for (int row = 0; row < 3; ++row) At(wide.affine_mm, row, 3) = origin[row];
  return wide;
}

bool BoxesOverlap(const Matrix4& affine_a, const Size3& size_a, const Matrix4& affine_b, const Size3& size_b) {
  const Corners first = MapCorners(affine_a, size_a);
  const Corners second = MapCorners(affine_b, size_b);
  double largest_a = 0.0;
  double largest_b = 0.0;
  for (int row = 0; row < 3; ++row) {
    for (int column = 0; column < 3; ++column) {
      largest_a = std::max(largest_a, std::abs(At(affine_a, row, column)));
      largest_b = std::max(largest_b, std::abs(At(affine_b, row, column)));
    }
  }
  const double parallel = 1e-9 * std::max(1.0, largest_a * largest_b);
  const auto separates = [&](const Point3& axis) {
    const double length = Length(axis);
    if (length < parallel) return false;  // parallel edges span no separating plane
    double low[2], high[2];
    for (int box = 0; box < 2; ++box) {
      low[box] = std::numeric_limits<double>::infinity();
      high[box] = -low[box];
      for (const Point3& corner : box == 0 ? first : second) {
        const double along = Dot(corner, axis) / length;
        low[box] = std::min(low[box], along);
        high[box] = std::max(high[box], along);
      }
    }
    return high[0] <= low[1] || high[1] <= low[0];
  };
  // Two convex boxes are apart if a face of either separates them, or a plane along one edge of each.
  for (int i = 0; i < 3; ++i) {
    const int next = (i + 1) % 3;
    if (separates(Cross(Column(affine_a, i), Column(affine_a, next)))) return false;
    if (separates(Cross(Column(affine_b, i), Column(affine_b, next)))) return false;
    for (int j = 0; j < 3; ++j) {
      if (separates(Cross(Column(affine_a, i), Column(affine_b, j)))) return false;
    }
  }
  return true;
}

std::optional<AxisMap> AlignAxes(const Matrix4& matrix, const Size3& size) {
  AxisMap map;
  std::array<bool, 3> taken{};
  std::array<double, 3> carried{};  // by axis of the other grid: how far the off-axis terms may move a voxel
  for (int axis = 0; axis < 3; ++axis) {
    int target = 0;
    for (int row = 1; row < 3; ++row) {
      if (std::abs(At(matrix, row, axis)) > std::abs(At(matrix, target, axis))) target = row;
    }
    if (taken[target]) return std::nullopt;
    taken[target] = true;
    map.target_axis[axis] = target;
    map.scale[axis] = At(matrix, target, axis);
    map.offset[axis] = At(matrix, target, 3);
    for (int row = 0; row < 3; ++row) {
      if (row == target) continue;
      carried[row] += std::abs(At(matrix, row, axis)) * static_cast<double>(size[axis] - 1);
    }
  }
  if (!(*std::max_element(carried.begin(), carried.end()) <= kAlignedToleranceVox)) return std::nullopt;
  return map;
}

}  // namespace cmc::core
