// Reading the stored voxels of a scan, whatever their type and layout.
#ifndef CMC_CORE_VOXELS_H_
#define CMC_CORE_VOXELS_H_

#include <cmath>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <stdexcept>

#include "cmc_core/geometry.h"
#include "cmc_core/types.h"

namespace cmc::core {

template <typename T>
struct Type {
  using Stored = T;
};

// Calls `body` with Type<T> for the C++ type T of `dtype`.
template <typename Body>
decltype(auto) WithType(DType dtype, Body&& body) {
  switch (dtype) {
    case DType::kUint8:
      return body(Type<std::uint8_t>{});
    case DType::kInt8:
      return body(Type<std::int8_t>{});
    case DType::kUint16:
      return body(Type<std::uint16_t>{});
    case DType::kInt16:
      return body(Type<std::int16_t>{});
    case DType::kUint32:
      return body(Type<std::uint32_t>{});
    case DType::kInt32:
      return body(Type<std::int32_t>{});
    case DType::kUint64:
      return body(Type<std::uint64_t>{});
    case DType::kInt64:
      return body(Type<std::int64_t>{});
    case DType::kFloat32:
      return body(Type<float>{});
    case DType::kFloat64:
      return body(Type<double>{});
  }
  throw std::invalid_argument("volume: unknown dtype");
}

// The voxel at `place`, which need not be aligned: a scan may lie anywhere in a mapped file.
template <typename T>
T Load(const std::byte* place) {
  T value;
  std::memcpy(&value, place, sizeof(T));
  return value;
}

// True values from stored ones. A slope of 1 and an intercept of 0 change no bits, so they need no case of their own.
struct Scaling {
  explicit Scaling(const VolumeView& volume)
      : slope(static_cast<float>(volume.slope)), intercept(static_cast<float>(volume.intercept)) {}

  template <typename T>
  float operator()(T stored) const {
    return static_cast<float>(stored) * slope + intercept;
  }

  float slope;
  float intercept;
};

// out[i] = true value of the i-th voxel from `row` on, `stride` bytes apart, less `background`.
template <typename T>
void ReadRow(const std::byte* row, Index stride, Index count, Scaling scaling, float background, float* out) {
  if (stride == static_cast<Index>(sizeof(T))) {  // a case of its own, so that it is vectorised
    for (Index i = 0; i < count; ++i) out[i] = scaling(Load<T>(row + i * Index{sizeof(T)})) - background;
  } else {
    for (Index i = 0; i < count; ++i) out[i] = scaling(Load<T>(row + i * stride)) - background;
  }
}

// Throws std::invalid_argument unless the view holds voxels.
inline void CheckVolume(const VolumeView& volume) {
  if (volume.data == nullptr || volume.size[0] < 1 || volume.size[1] < 1 || volume.size[2] < 1) {
    throw std::invalid_argument("volume: no voxels");
  }
}

// Voxel of a grid -> position in the volume. Throws std::invalid_argument if that is not finite everywhere.
inline Matrix4 PositionMap(const VolumeView& volume, const Matrix4& affine_mm) {
  const Matrix4 map = Multiply(Inverse(volume.affine_mm), affine_mm);
  for (const double entry : map) {
    if (!std::isfinite(entry)) throw std::invalid_argument("affine: an entry is not finite");
  }
  return map;
}

}  // namespace cmc::core

#endif  // CMC_CORE_VOXELS_H_
