// A sliding window by the book: all logits at once in double precision, no ring; and problems to compare on.
#ifndef CMC_TESTS_ACCUMULATOR_REFERENCE_H_
#define CMC_TESTS_ACCUMULATOR_REFERENCE_H_

#include <gtest/gtest.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <map>
#include <memory_resource>
#include <random>
#include <vector>

#include "cmc_core/accumulator.h"
#include "cmc_core/geometry.h"
#include "cmc_core/windows.h"

namespace cmc::core {

struct Problem {
  int classes = 3;
  ModelGrid grid;
  Size3 window{};
  double overlap = 0.5;
  Matrix4 target_affine{};
  Size3 target_size{};
  std::vector<Size3> starts;
  std::map<Size3, std::vector<float>> logits;  // of the windows that are added
};

// Arrays in C order of the target grid, whatever the layout they were written in.
struct Result {
  std::vector<std::uint8_t> labels, confidence;
  std::vector<std::int64_t> counts;
  std::vector<double> sums;
};

enum class Layout { kC, kFortran, kReversed, kSpread };

class CountingMemory : public std::pmr::memory_resource {
 public:
  Index held = 0, peak = 0;

 private:
  void* do_allocate(std::size_t bytes, std::size_t alignment) override {
    held += static_cast<Index>(bytes);
    peak = std::max(peak, held);
    return std::pmr::new_delete_resource()->allocate(bytes, alignment);
  }
  void do_deallocate(void* place, std::size_t bytes, std::size_t alignment) override {
    held -= static_cast<Index>(bytes);
    std::pmr::new_delete_resource()->deallocate(place, bytes, alignment);
  }
  bool do_is_equal(const std::pmr::memory_resource& other) const noexcept override { return this == &other; }
};

using Matrix3 = std::array<double, 9>;

inline Matrix3 Identity() { return {1, 0, 0, 0, 1, 0, 0, 0, 1}; }

inline Matrix3 Product(const Matrix3& a, const Matrix3& b) {
  Matrix3 out{};
  for (int i = 0; i < 3; ++i) {
    for (int j = 0; j < 3; ++j) {
      for (int k = 0; k < 3; ++k) out[3 * i + j] += a[3 * i + k] * b[3 * k + j];
    }
  }
  return out;
}

inline Matrix3 Rotation(const std::array<double, 3>& angles) {
  Matrix3 out = Identity();
  for (int a = 0; a < 3; ++a) {
    const double c = std::cos(angles[a]), s = std::sin(angles[a]);
    Matrix3 turn = Identity();
    const int i = (a + 1) % 3, j = (a + 2) % 3;
    turn[4 * i] = turn[4 * j] = c;
    turn[3 * i + j] = -s;
    turn[3 * j + i] = s;
    out = Product(turn, out);
  }
  return out;
}

// One of the 48 ways to permute and flip axes.
inline Matrix3 SignedPermutation(int which) {
  std::array<int, 3> order = {0, 1, 2};
  for (int i = 0; i < which / 8; ++i) std::next_permutation(order.begin(), order.end());
  Matrix3 out{};
  for (int row = 0; row < 3; ++row) out[3 * row + order[row]] = (which >> row & 1) != 0 ? -1.0 : 1.0;
  return out;
}

inline Matrix4 Affine(const Matrix3& directions, const Point3& spacing) {
  Matrix4 out{};
  for (int i = 0; i < 3; ++i) {
    for (int j = 0; j < 3; ++j) out[4 * i + j] = directions[3 * i + j] * spacing[j];
  }
  out[15] = 1.0;
  return out;
}

inline void MoveCentre(Matrix4* affine, const Size3& size, const Point3& centre) {
  for (int i = 0; i < 3; ++i) {
    (*affine)[4 * i + 3] = centre[i];
    for (int j = 0; j < 3; ++j) (*affine)[4 * i + 3] -= (*affine)[4 * i + j] * static_cast<double>(size[j] - 1) / 2.0;
  }
}

// The target grid's centre lies `shift` mm from that of the model grid.
inline void Centre(Problem* problem, const Point3& shift) {
  const Point3 centre = {10.0, -20.0, 30.0};
  MoveCentre(&problem->grid.affine_mm, problem->grid.size, centre);
  MoveCentre(&problem->target_affine, problem->target_size,
             {centre[0] + shift[0], centre[1] + shift[1], centre[2] + shift[2]});
}

inline void FillWindows(Problem* problem, std::mt19937& random, double deviation) {
  problem->starts = WindowStarts(problem->grid.size, problem->window, problem->overlap);
  std::normal_distribution<float> normal(0.0F, static_cast<float>(deviation));
  for (const Size3& start : problem->starts) {
    std::vector<float>& logits = problem->logits[start];
    logits.resize(problem->classes * Count(problem->window));
    for (float& value : logits) value = normal(random);
  }
}

inline Problem RandomProblem(std::mt19937& random, bool oblique, int order) {
  const auto whole = [&](int low, int high) { return std::uniform_int_distribution<Index>(low, high)(random); };
  const auto real = [&](double low, double high) { return std::uniform_real_distribution<double>(low, high)(random); };
  Problem problem;
  problem.classes = std::array<int, 4>{2, 3, 14, 33}[whole(0, 3)];
  for (int a = 0; a < 3; ++a) {
    problem.grid.size[a] = whole(1, 14);
    problem.window[a] = whole(2, 6);
    problem.target_size[a] = whole(1, 20);
  }
  problem.overlap = std::array<double, 4>{0.0, 0.25, 0.5, 0.8}[whole(0, 3)];
  problem.grid.affine_mm = Affine(Identity(), {1.0, 1.25, 0.75});
  const Matrix3 axes = SignedPermutation(order);
  const Matrix3 turn = oblique ? Rotation({real(-0.75, 0.75), real(-0.75, 0.75), real(-0.75, 0.75)}) : Identity();
  problem.target_affine = Affine(Product(turn, axes), {real(0.3, 2.5), real(0.3, 2.5), real(0.3, 2.5)});
  Centre(&problem, {real(-4, 4), real(-4, 4), real(-4, 4)});
  FillWindows(&problem, random, 2.0);
  return problem;
}

// Several blocks along every axis, partly outside the model grid; without logits.
inline Problem MediumProblem(bool oblique) {
  Problem problem;
  problem.grid = {Affine(Identity(), {1.0, 1.0, 1.0}), {17, 31, 20}};
  problem.window = {10, 12, 11};
  problem.target_size = {37, 70, 35};
  problem.target_affine = Affine(oblique ? Rotation({0.1, 0.2, -0.3}) : Identity(), {-0.52, 0.55, 0.61});
  Centre(&problem, {1.0, -2.0, 0.5});
  problem.starts = WindowStarts(problem.grid.size, problem.window, problem.overlap);
  return problem;
}

// Runs the accumulator into arrays of the given layout, between guards that must stay as they are.
inline Result Label(const Problem& problem, int thread_count, Layout layout,
                    std::pmr::memory_resource* memory = std::pmr::get_default_resource()) {
  const Size3& size = problem.target_size;
  const bool fortran = layout == Layout::kFortran;
  const Index step = layout == Layout::kSpread ? 3 : 1;
  Size3 strides = {size[1] * size[2] * step, size[2] * step, step};
  if (fortran) strides = {1, size[0], size[0] * size[1]};
  const Index bytes = Count(size) * step;
  constexpr std::uint8_t kGuard = 0xAB;
  std::vector<std::uint8_t> labels(bytes + 128, kGuard), confidence(bytes + 128, kGuard);
  Index origin = 64;
  if (layout == Layout::kReversed) {
    origin += bytes - 1;
    for (Index& stride : strides) stride = -stride;
  }
  const TargetView target = {labels.data() + origin, confidence.data() + origin, size, strides, problem.target_affine};
  Result result;
  {
    Threads threads(thread_count);
    Accumulator accumulator(problem.grid, target, problem.classes, problem.window, problem.starts, memory);
    const int axis = LongestAxis(problem.grid.size);
    std::vector<Size3> order;
    for (const auto& item : problem.logits) order.push_back(item.first);
    std::stable_sort(order.begin(), order.end(), [&](const Size3& a, const Size3& b) { return a[axis] < b[axis]; });
    for (const Size3& start : order) accumulator.Add(problem.logits.at(start).data(), start, threads);
    accumulator.Finish(threads);
    result.counts = accumulator.counts();
    result.sums = accumulator.confidence_sums();
  }
  for (std::vector<std::uint8_t>* array : {&labels, &confidence}) {
    std::vector<std::uint8_t>& out = array == &labels ? result.labels : result.confidence;
    for (Index x = 0; x < size[0]; ++x) {
      for (Index y = 0; y < size[1]; ++y) {
        for (Index z = 0; z < size[2]; ++z) {
          std::uint8_t& value = (*array)[origin + x * strides[0] + y * strides[1] + z * strides[2]];
          out.push_back(value);
          value = kGuard;
        }
      }
    }
    EXPECT_EQ(std::count(array->begin(), array->end(), kGuard), static_cast<Index>(array->size()));
  }
  return result;
}

// Weighted mean (K, X, Y, Z) of the windows' logits.
inline std::vector<double> BlendByTheBook(const Problem& problem) {
  const Size3& size = problem.grid.size;
  const Index voxels = Count(size);
  std::vector<double> total(problem.classes * voxels, 0.0), mass(voxels, 0.0);
  for (const Size3& start : problem.starts) {
    const std::vector<float>& logits = problem.logits.at(start);
    for (Index i = 0; i < Count(problem.window); ++i) {
      const Size3 in_window = {i / (problem.window[1] * problem.window[2]), i / problem.window[2] % problem.window[1],
                               i % problem.window[2]};
      double square = 0.0;
      Index place = 0;
      bool inside = true;
      for (int a = 0; a < 3; ++a) {
        const auto n = static_cast<double>(problem.window[a]);
        square += std::pow((static_cast<double>(in_window[a]) - (n - 1.0) / 2.0) / (0.125 * n), 2);
        const Index voxel = start[a] + in_window[a];
        inside = inside && voxel >= 0 && voxel < size[a];
        place = place * size[a] + voxel;
      }
      if (!inside) continue;
      const double weight = std::exp(-square / 2.0);
      mass[place] += weight;
      for (int c = 0; c < problem.classes; ++c) {
        total[c * voxels + place] += weight * static_cast<double>(logits[c * Count(problem.window) + i]);
      }
    }
  }
  for (std::size_t i = 0; i < total.size(); ++i) total[i] /= mass[i % voxels];
  return total;
}

inline std::vector<double> Trilinear(const std::vector<double>& field, const Size3& size, int classes,
                                     const Point3& position) {
  Index lower[3], upper[3];
  double fraction[3];
  for (int a = 0; a < 3; ++a) {
    const double inside = std::clamp(position[a], 0.0, static_cast<double>(size[a] - 1));
    lower[a] = static_cast<Index>(std::floor(inside));
    upper[a] = std::min(lower[a] + 1, size[a] - 1);
    fraction[a] = inside - static_cast<double>(lower[a]);
  }
  std::vector<double> values(classes, 0.0);
  for (int corner = 0; corner < 8; ++corner) {
    double weight = 1.0;
    Index place = 0;
    for (int a = 0; a < 3; ++a) {
      const bool up = (corner >> a & 1) != 0;
      weight *= up ? fraction[a] : 1.0 - fraction[a];
      place = place * size[a] + (up ? upper[a] : lower[a]);
    }
    for (int c = 0; c < classes; ++c) values[c] += weight * field[c * Count(size) + place];
  }
  return values;
}

// Compares every voxel: labels but for ties within 1e-5 or so, confidence but where it lies that near to a rounding.
inline void Expect(const Problem& problem, const Result& found) {
  const std::vector<double> field = BlendByTheBook(problem);
  const double largest = std::fabs(
      *std::max_element(field.begin(), field.end(), [](double a, double b) { return std::fabs(a) < std::fabs(b); }));
  const double tolerance = 2e-6 * std::max(5.0, largest);
  const Matrix4 matrix = Multiply(Inverse(problem.grid.affine_mm), problem.target_affine);
  const Size3& size = problem.target_size;
  std::vector<std::int64_t> counts(problem.classes, 0);
  std::vector<double> sums(problem.classes, 0.0);
  Index voxel = 0, wrong = 0, unlike = 0;
  for (Index x = 0; x < size[0]; ++x) {
    for (Index y = 0; y < size[1]; ++y) {
      for (Index z = 0; z < size[2]; ++z, ++voxel) {
        Point3 position;
        for (int a = 0; a < 3; ++a) {
          const double exact = matrix[4 * a] * static_cast<double>(x) + matrix[4 * a + 1] * static_cast<double>(y) +
                               matrix[4 * a + 2] * static_cast<double>(z) + matrix[4 * a + 3];
          position[a] = std::nearbyint(exact * 1e6) / 1e6;
        }
        const std::vector<double> logits = Trilinear(field, problem.grid.size, problem.classes, position);
        const auto best = std::max_element(logits.begin(), logits.end());
        double sum = 0.0;
        for (const double value : logits) sum += std::exp(value - *best);
        const int label = found.labels[voxel], confidence = found.confidence[voxel];
        ASSERT_LT(label, problem.classes);
        wrong += logits[label] < *best - tolerance;
        unlike += confidence < std::floor(255.0 / sum + 0.5 - 255.0 * tolerance) ||
                  confidence > std::floor(255.0 / sum + 0.5 + 255.0 * tolerance);
        ++counts[label];
        sums[label] += confidence / 255.0;
      }
    }
  }
  EXPECT_EQ(wrong, 0) << "labels of " << voxel;
  EXPECT_EQ(unlike, 0) << "confidences of " << voxel;
  EXPECT_EQ(found.counts, counts);
  for (int c = 0; c < problem.classes; ++c) EXPECT_NEAR(found.sums[c], sums[c], 1e-9 * (1.0 + sums[c]));
}

}  // namespace cmc::core

#endif  // CMC_TESTS_ACCUMULATOR_REFERENCE_H_
