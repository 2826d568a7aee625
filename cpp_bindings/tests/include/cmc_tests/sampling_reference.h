// Sampling by the definition: one voxel after the other, all neighbours in double.
#ifndef CMC_TESTS_SAMPLING_REFERENCE_H_
#define CMC_TESTS_SAMPLING_REFERENCE_H_

#include <algorithm>
#include <cmath>
#include <vector>

#include "cmc_core/geometry.h"
#include "cmc_core/types.h"
#include "cmc_tests/scans.h"

namespace cmc::core {

inline Point3 SourcePosition(const Matrix4& map, Index x, Index y, Index z) {
  Point3 position = Apply(map, {static_cast<double>(x), static_cast<double>(y), static_cast<double>(z)});
  for (double& value : position) value = std::nearbyint(value * 1e6) / 1e6;
  return position;
}

template <typename T>
std::vector<float> LinearByTheBook(Scan<T>& scan, const Matrix4& window_affine, const Size3& size, double background) {
  const Matrix4 map = Multiply(Inverse(scan.view.affine_mm), window_affine);
  Point3 half{};
  for (int axis = 0; axis < 3; ++axis) {
    const double* row = map.data() + 4 * axis;
    const double length = std::sqrt(row[0] * row[0] + row[1] * row[1] + row[2] * row[2]);
    half[axis] = std::max(1.0, std::nearbyint(length * 1e6) / 1e6);
  }
  std::vector<float> out;
  for (Index x = 0; x < size[0]; ++x) {
    for (Index y = 0; y < size[1]; ++y) {
      for (Index z = 0; z < size[2]; ++z) {
        const Point3 at = SourcePosition(map, x, y, z);
        std::array<std::vector<double>, 3> weights;
        Size3 first{};
        for (int axis = 0; axis < 3; ++axis) {
          first[axis] = static_cast<Index>(std::floor(at[axis] - half[axis]));
          double total = 0.0;
          for (Index i = first[axis]; static_cast<double>(i) <= at[axis] + half[axis]; ++i) {
            weights[axis].push_back(std::max(0.0, 1.0 - std::abs(static_cast<double>(i) - at[axis]) / half[axis]));
            total += weights[axis].back();
          }
          for (double& weight : weights[axis]) weight /= total;
        }
        double sum = 0.0;
        for (std::size_t i = 0; i < weights[0].size(); ++i) {
          for (std::size_t j = 0; j < weights[1].size(); ++j) {
            for (std::size_t k = 0; k < weights[2].size(); ++k) {
              const Index place[] = {first[0] + static_cast<Index>(i), first[1] + static_cast<Index>(j),
                                     first[2] + static_cast<Index>(k)};
              bool inside = true;
              for (int axis = 0; axis < 3; ++axis) {
                inside = inside && place[axis] >= 0 && place[axis] < scan.view.size[axis];
              }
              const double value =
                  inside ? static_cast<double>(scan.TrueValue(place[0], place[1], place[2])) : background;
              sum += weights[0][i] * weights[1][j] * weights[2][k] * value;
            }
          }
        }
        out.push_back(static_cast<float>(sum));
      }
    }
  }
  return out;
}

inline double LargestDifference(const std::vector<float>& a, const std::vector<float>& b) {
  double largest = a.size() == b.size() ? 0.0 : std::numeric_limits<double>::infinity();
  for (std::size_t i = 0; i < a.size(); ++i) {
    const double difference = std::abs(static_cast<double>(a[i]) - static_cast<double>(b[i]));
    if (!(difference <= largest)) largest = difference;  // keeps a NaN
  }
  return largest;
}

}  // namespace cmc::core

#endif  // CMC_TESTS_SAMPLING_REFERENCE_H_
