// From numpy arrays and tuples to the core's types.
#ifndef CMC_PYTHON_CONVERT_H_
#define CMC_PYTHON_CONVERT_H_

#include <nanobind/nanobind.h>
#include <nanobind/ndarray.h>
#include <nanobind/stl/array.h>
#include <nanobind/stl/optional.h>
#include <nanobind/stl/vector.h>

#include <array>
#include <stdexcept>
#include <tuple>
#include <vector>

#include "cmc_core/intensity.h"
#include "cmc_core/types.h"

namespace cmc::python {

namespace nb = nanobind;
using core::Index;

// (4, 4) float64, C-contiguous.
using MatrixArray = nb::ndarray<const double, nb::shape<4, 4>, nb::c_contig, nb::device::cpu>;
// (X, Y, Z) stored voxels of any supported type, any strides.
using StoredArray = nb::ndarray<nb::ro, nb::ndim<3>, nb::device::cpu>;
// Any shape, FP32, C-contiguous.
using FloatArray = nb::ndarray<float, nb::c_contig, nb::device::cpu>;
using ConstFloatArray = nb::ndarray<const float, nb::c_contig, nb::device::cpu>;

// Of a 3-D array.
template <typename Array>
core::Size3 ShapeOf(const Array& array) {
  return {static_cast<Index>(array.shape(0)), static_cast<Index>(array.shape(1)), static_cast<Index>(array.shape(2))};
}

inline core::Matrix4 ToMatrix(const MatrixArray& array) {
  core::Matrix4 matrix;
  std::copy(array.data(), array.data() + 16, matrix.begin());
  return matrix;
}

// A new (4, 4) array.
nb::ndarray<nb::numpy, double, nb::shape<4, 4>> FromMatrix(const core::Matrix4& matrix);

// Throws std::invalid_argument for a type that the core does not read.
core::VolumeView ToVolume(const StoredArray& stored, const MatrixArray& affine_mm, double slope, double intercept);

// (clip range or None, "zscore" or "unit_range").
core::IntensityRule ToRule(const std::optional<std::array<double, 2>>& clip, const std::string& scale);

void BindGeometry(nb::module_& module);
void BindIntensity(nb::module_& module);
void BindSampling(nb::module_& module);
void BindAccumulator(nb::module_& module);
void BindDistance(nb::module_& module);

}  // namespace cmc::python

#endif  // CMC_PYTHON_CONVERT_H_
