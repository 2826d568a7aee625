// Grids in patient space: the model grid of a volume, unions of extents, overlap, and how axes align.
#ifndef CMC_CORE_GEOMETRY_H_
#define CMC_CORE_GEOMETRY_H_

#include <array>
#include <optional>

#include "cmc_core/types.h"

namespace cmc::core {

// Two grids count as aligned if leaving out the off-axis terms moves no voxel by more than this.
inline constexpr double kAlignedToleranceVox = 1e-3;

// An index map that only permutes, flips, scales and shifts axes.
struct AxisMap {
  std::array<int, 3> target_axis{};  // for each axis mapped from, the axis of the other grid that it runs along
  Point3 scale{};                    // voxels of the other grid per voxel; negative for a flip
  Point3 offset{};                   // position in the other grid of index 0

  // Position in the other grid of `index` along `axis`, rounded to 1e-6 voxel, so that a grid laid on itself falls
  // exactly on its voxels, whatever inverting an affine left behind.
  double Position(int axis, Index index) const;
};

// value rounded to 1e-6, halves to even (std::nearbyint(value * 1e6) / 1e6).
double RoundPosition(double value);

Matrix4 Multiply(const Matrix4& a, const Matrix4& b);

// Throws std::invalid_argument if the matrix is singular.
Matrix4 Inverse(const Matrix4& matrix);

// The volume's own axes, permuted and flipped to the nearest RAS and resampled in spacing; never rotated. It has the
// same centre as the volume and covers the same extent, rounded up to whole voxels. Shear is kept. NearestRas decides
// on order and flips.
ModelGrid MakeModelGrid(const Matrix4& affine_mm, const Size3& size, const Point3& spacing_mm);

// For each RAS axis the voxel axis that runs along it most, over all six assignments the one whose summed absolute
// direction cosines are largest (the first in lexicographic order on a tie), and whether it runs against it. Cosines
// are those of the orthogonal matrix nearest to the axes' directions, so that shear has no say.
struct NearestAxes {
  std::array<int, 3> source_axis{};
  std::array<bool, 3> flipped{};
};
NearestAxes NearestRas(const Matrix4& affine_mm);

// `grid` with whole voxels added on each side until it covers the extent of another volume; same axes and phase.
ModelGrid ExtendGrid(const ModelGrid& grid, const Matrix4& affine_mm, const Size3& size);

// Whether the extents of two volumes (parallelepipeds, voxel edges included) share a point in their inside.
bool BoxesOverlap(const Matrix4& affine_a, const Size3& size_a, const Matrix4& affine_b, const Size3& size_b);

// Reads an index map as permutation, flips, scales and shifts; nothing if the axes do not align. `size` is that of the
// grid mapped from: it decides how far small off-axis terms may carry.
std::optional<AxisMap> AlignAxes(const Matrix4& matrix, const Size3& size);

}  // namespace cmc::core

#endif  // CMC_CORE_GEOMETRY_H_
