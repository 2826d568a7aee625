// What the core's functions take and give: sizes, affines, and a view of a scan as it lies in memory.
#ifndef CMC_CORE_TYPES_H_
#define CMC_CORE_TYPES_H_

#include <array>
#include <cstddef>
#include <cstdint>

namespace cmc::core {

using Index = std::int64_t;
using Size3 = std::array<Index, 3>;      // voxels along x, y, z, or a position in voxels
using Point3 = std::array<double, 3>;    // mm, or fractional voxels
using Matrix4 = std::array<double, 16>;  // row-major; the last row is 0 0 0 1

// Type of the stored voxels, in native byte order.
enum class DType { kUint8, kInt8, kUint16, kInt16, kUint32, kInt32, kUint64, kInt64, kFloat32, kFloat64 };

// A scan that the caller owns. True value = float(stored) * float(slope) + float(intercept), in FP32, each factor left
// out where it is 1 or 0.
struct VolumeView {
  const std::byte* data = nullptr;  // voxel (0, 0, 0)
  DType dtype = DType::kFloat32;
  Size3 size{};     // voxels along x, y, z; all > 0
  Size3 strides{};  // bytes from one voxel to the next along x, y, z; negative for a flipped axis
  double slope = 1.0;
  double intercept = 0.0;
  Matrix4 affine_mm{};  // voxel index -> RAS position in mm of the voxel's centre
};

// A grid that windows are cut from.
struct ModelGrid {
  Matrix4 affine_mm{};  // voxel index -> RAS position in mm of the voxel's centre
  Size3 size{};
};

// Voxels [start, start + size) of a grid.
struct GridBox {
  Size3 start{};
  Size3 size{};
};

inline Index Count(const Size3& size) { return size[0] * size[1] * size[2]; }

}  // namespace cmc::core

#endif  // CMC_CORE_TYPES_H_
