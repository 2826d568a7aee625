// Grids that lie anywhere, scans of any type and layout, and memory that is counted.
#ifndef CMC_TESTS_SCANS_H_
#define CMC_TESTS_SCANS_H_

#include <algorithm>
#include <array>
#include <cmath>
#include <cstdint>
#include <limits>
#include <memory_resource>
#include <random>
#include <type_traits>
#include <vector>

#include "cmc_core/geometry.h"
#include "cmc_core/types.h"

namespace cmc::core {

struct GridShape {
  std::array<int, 3> order{0, 1, 2};  // the patient axis that each voxel axis runs along before the turn
  Point3 signs{1, 1, 1};
  Point3 spacing{1, 1, 1};
  Point3 angles{0, 0, 0};  // radians about x, y, z
  double shear = 0.0;
};

inline Matrix4 Identity() { return {1, 0, 0, 0, 0, 1, 0, 0, 0, 0, 1, 0, 0, 0, 0, 1}; }

inline Matrix4 Rotation(const Point3& angles) {
  Matrix4 turn = Identity();
  for (int axis = 0; axis < 3; ++axis) {
    const int a = (axis + 1) % 3;
    const int b = (axis + 2) % 3;
    Matrix4 single = Identity();
    single[4 * a + a] = single[4 * b + b] = std::cos(angles[axis]);
    single[4 * a + b] = -std::sin(angles[axis]);
    single[4 * b + a] = std::sin(angles[axis]);
    turn = Multiply(single, turn);
  }
  return turn;
}

// The affine of a grid with voxel (0, 0, 0) at 0 mm.
inline Matrix4 MakeAffine(const GridShape& shape) {
  Matrix4 permuted{};
  permuted[15] = 1.0;
  for (int axis = 0; axis < 3; ++axis) permuted[4 * shape.order[axis] + axis] = shape.signs[axis];
  Matrix4 scaled = Identity();
  scaled[1] = shape.shear;
  for (int row = 0; row < 3; ++row) {
    for (int axis = 0; axis < 3; ++axis) scaled[4 * row + axis] *= shape.spacing[axis];
  }
  return Multiply(Rotation(shape.angles), Multiply(permuted, scaled));
}

inline Point3 Apply(const Matrix4& matrix, const Point3& point) {
  Point3 out{};
  for (int row = 0; row < 3; ++row) {
    out[row] = matrix[4 * row] * point[0] + matrix[4 * row + 1] * point[1] + matrix[4 * row + 2] * point[2] +
               matrix[4 * row + 3];
  }
  return out;
}

inline Point3 CentreOf(const Matrix4& affine_mm, const Size3& size) {
  return Apply(affine_mm, {static_cast<double>(size[0] - 1) / 2, static_cast<double>(size[1] - 1) / 2,
                           static_cast<double>(size[2] - 1) / 2});
}

// The same grid with its centre at `centre` mm.
inline Matrix4 MoveCentre(const Matrix4& affine_mm, const Size3& size, const Point3& centre) {
  const Point3 now = CentreOf(affine_mm, size);
  Matrix4 moved = affine_mm;
  for (int row = 0; row < 3; ++row) moved[4 * row + 3] += centre[row] - now[row];
  return moved;
}

// The grid that begins at voxel `start` of another.
inline Matrix4 MoveStart(const Matrix4& affine_mm, const Size3& start) {
  const Point3 origin =
      Apply(affine_mm, {static_cast<double>(start[0]), static_cast<double>(start[1]), static_cast<double>(start[2])});
  Matrix4 moved = affine_mm;
  for (int row = 0; row < 3; ++row) moved[4 * row + 3] = origin[row];
  return moved;
}

template <typename T>
constexpr DType TypeOf() {
  if (std::is_same_v<T, std::uint8_t>) return DType::kUint8;
  if (std::is_same_v<T, std::int8_t>) return DType::kInt8;
  if (std::is_same_v<T, std::uint16_t>) return DType::kUint16;
  if (std::is_same_v<T, std::int16_t>) return DType::kInt16;
  if (std::is_same_v<T, std::uint32_t>) return DType::kUint32;
  if (std::is_same_v<T, std::int32_t>) return DType::kInt32;
  if (std::is_same_v<T, std::uint64_t>) return DType::kUint64;
  if (std::is_same_v<T, std::int64_t>) return DType::kInt64;
  return std::is_same_v<T, float> ? DType::kFloat32 : DType::kFloat64;
}

// How an array lies in memory.
struct MemoryLayout {
  std::array<int, 3> order{2, 1, 0};  // axes from the fastest to the slowest: C order
  std::array<bool, 3> flipped{};
  Index step = 1;  // elements from one voxel to the next along the fastest axis
};

inline constexpr std::array<int, 3> kFortranOrder{0, 1, 2};

// An array and the view of it.
template <typename T>
struct Scan {
  Scan(const Size3& size, const MemoryLayout& layout = {}) : values(Count(size) * layout.step) {
    view.dtype = TypeOf<T>();
    view.size = size;
    view.affine_mm = Identity();
    Index stride = layout.step;
    Index first = 0;
    for (const int axis : layout.order) {
      view.strides[axis] = stride * Index{sizeof(T)} * (layout.flipped[axis] ? -1 : 1);
      if (layout.flipped[axis]) first += stride * (size[axis] - 1);
      stride *= size[axis];
    }
    view.data = reinterpret_cast<const std::byte*>(values.data() + first);
  }

  T& At(Index x, Index y, Index z) {
    const Index bytes = x * view.strides[0] + y * view.strides[1] + z * view.strides[2];
    return *reinterpret_cast<T*>(const_cast<std::byte*>(view.data) + bytes);
  }

  // Calls body(value, x, y, z) for every voxel in C order.
  template <typename Body>
  void Each(Body body) {
    for (Index x = 0; x < view.size[0]; ++x) {
      for (Index y = 0; y < view.size[1]; ++y) {
        for (Index z = 0; z < view.size[2]; ++z) body(At(x, y, z), x, y, z);
      }
    }
  }

  void FillNoise(std::mt19937& random, double low, double high) {
    std::uniform_real_distribution<double> noise(low, high);
    Each([&](T& value, Index, Index, Index) { value = static_cast<T>(noise(random)); });
  }

  float TrueValue(Index x, Index y, Index z) {
    return static_cast<float>(At(x, y, z)) * static_cast<float>(view.slope) + static_cast<float>(view.intercept);
  }

  std::vector<T> values;
  VolumeView view;
};

// Draws for random cases.
struct Dice {
  explicit Dice(unsigned seed) : random(seed) {}

  double Real(double low, double high) { return std::uniform_real_distribution<double>(low, high)(random); }
  Index Whole(Index low, Index high) { return std::uniform_int_distribution<Index>(low, high)(random); }
  bool Chance(double share) { return Real(0, 1) < share; }
  Size3 Size(Index low, Index high) { return {Whole(low, high), Whole(low, high), Whole(low, high)}; }
  Point3 Point(double low, double high) { return {Real(low, high), Real(low, high), Real(low, high)}; }

  std::array<int, 3> Order() {
    std::array<int, 3> order{0, 1, 2};
    std::shuffle(order.begin(), order.end(), random);
    return order;
  }

  GridShape Grid(bool oblique) {
    GridShape shape;
    shape.order = Order();
    for (double& sign : shape.signs) sign = Chance(0.5) ? -1.0 : 1.0;
    shape.spacing = Point(0.5, 4.0);
    if (oblique) shape.angles = Point(-0.75, 0.75);
    if (oblique && Chance(0.5)) shape.shear = 0.25;
    return shape;
  }

  MemoryLayout Layout() {
    return {Order(), {Chance(0.3), Chance(0.3), Chance(0.3)}, Chance(0.2) ? Index{2} : Index{1}};
  }

  std::mt19937 random;
};

// Remembers how many bytes were handed out at once.
class CountedMemory : public std::pmr::memory_resource {
 public:
  Index held() const { return held_; }
  Index peak() const { return peak_; }

 private:
  void* do_allocate(std::size_t bytes, std::size_t alignment) override {
    held_ += static_cast<Index>(bytes);
    peak_ = std::max(peak_, held_);
    return std::pmr::new_delete_resource()->allocate(bytes, alignment);
  }
  void do_deallocate(void* place, std::size_t bytes, std::size_t alignment) override {
    held_ -= static_cast<Index>(bytes);
    std::pmr::new_delete_resource()->deallocate(place, bytes, alignment);
  }
  bool do_is_equal(const memory_resource& other) const noexcept override { return this == &other; }

  Index held_ = 0;
  Index peak_ = 0;
};

}  // namespace cmc::core

#endif  // CMC_TESTS_SCANS_H_
