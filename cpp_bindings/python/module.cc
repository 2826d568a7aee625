// The module cmc_sdk.runtime.core._native: the core's functions on arrays that the caller owns. Nothing is copied, and
// the interpreter's lock is released while the core works.
#include "cmc_core/threads.h"
#include "cmc_python/convert.h"

namespace cmc::python {

nb::ndarray<nb::numpy, double, nb::shape<4, 4>> FromMatrix(const core::Matrix4& matrix) {
  auto* copy = new core::Matrix4(matrix);
  nb::capsule owner(copy, [](void* pointer) noexcept { delete static_cast<core::Matrix4*>(pointer); });
  return nb::ndarray<nb::numpy, double, nb::shape<4, 4>>(copy->data(), {4, 4}, owner);
}

namespace {

core::DType ToDType(const nb::dlpack::dtype& type) {
  using core::DType;
  if (type.lanes == 1) {
    if (type == nb::dtype<std::uint8_t>()) return DType::kUint8;
    if (type == nb::dtype<std::int8_t>()) return DType::kInt8;
    if (type == nb::dtype<std::uint16_t>()) return DType::kUint16;
    if (type == nb::dtype<std::int16_t>()) return DType::kInt16;
    if (type == nb::dtype<std::uint32_t>()) return DType::kUint32;
    if (type == nb::dtype<std::int32_t>()) return DType::kInt32;
    if (type == nb::dtype<std::uint64_t>()) return DType::kUint64;
    if (type == nb::dtype<std::int64_t>()) return DType::kInt64;
    if (type == nb::dtype<float>()) return DType::kFloat32;
    if (type == nb::dtype<double>()) return DType::kFloat64;
  }
  throw std::invalid_argument("voxels of this type are not read; give integers of up to 64 bits, float32 or float64");
}

}  // namespace

core::VolumeView ToVolume(const StoredArray& stored, const MatrixArray& affine_mm, double slope, double intercept) {
  core::VolumeView view;
  view.data = static_cast<const std::byte*>(stored.data());
  view.dtype = ToDType(stored.dtype());
  const Index bytes = static_cast<Index>(stored.itemsize());
  for (int axis = 0; axis < 3; ++axis) {
    view.size[axis] = static_cast<Index>(stored.shape(axis));
    view.strides[axis] = stored.stride(axis) * bytes;
  }
  view.slope = slope;
  view.intercept = intercept;
  view.affine_mm = ToMatrix(affine_mm);
  return view;
}

core::IntensityRule ToRule(const std::optional<std::array<double, 2>>& clip, const std::string& scale) {
  core::IntensityRule rule;
  rule.has_clip = clip.has_value();
  if (clip) {
    rule.clip_low = (*clip)[0];
    rule.clip_high = (*clip)[1];
  }
  rule.scale = scale == "unit_range" ? core::Scale::kUnitRange : core::Scale::kZScore;
  return rule;
}

}  // namespace cmc::python

NB_MODULE(_native, module) {
  namespace nb = nanobind;
  nb::class_<cmc::core::Threads>(module, "Threads")
      .def(nb::init<int>(), nb::arg("count"))
      .def_prop_ro("count", &cmc::core::Threads::count);
  cmc::python::BindGeometry(module);
  cmc::python::BindIntensity(module);
  cmc::python::BindSampling(module);
  cmc::python::BindAccumulator(module);
  cmc::python::BindDistance(module);
}
