// Blending windows and labelling; counting components.
#include "cmc_core/accumulator.h"

#include "cmc_core/components.h"
#include "cmc_python/convert.h"

namespace cmc::python {

namespace {

using ByteArray = nb::ndarray<std::uint8_t, nb::ndim<3>, nb::device::cpu>;
using ConstByteArray = nb::ndarray<const std::uint8_t, nb::ndim<3>, nb::device::cpu>;

template <typename Array>
core::Size3 StridesOf(const Array& array) {
  return {array.stride(0), array.stride(1), array.stride(2)};  // of one byte each
}

core::TargetView ToTarget(const ByteArray& labels, const ByteArray& confidence, const MatrixArray& affine_mm) {
  if (ShapeOf(labels) != ShapeOf(confidence) || StridesOf(labels) != StridesOf(confidence)) {
    throw std::invalid_argument("labels and confidence must have one shape and one layout");
  }
  return {labels.data(), confidence.data(), ShapeOf(labels), StridesOf(labels), ToMatrix(affine_mm)};
}

// The accumulator, and the shape of a window's logits: what is added must have it.
struct Blend {
  int classes;
  core::Size3 window;
  core::Accumulator inner;
};

}  // namespace

void BindAccumulator(nb::module_& module) {
  using core::Size3;

  nb::class_<Blend>(module, "Accumulator")
      .def(
          "__init__",
          [](Blend* self, MatrixArray grid_affine_mm, Size3 grid_size, ByteArray labels, ByteArray confidence,
             MatrixArray target_affine_mm, int num_classes, Size3 window, const std::vector<Size3>& starts) {
            new (self)
                Blend{num_classes, window,
                      core::Accumulator({ToMatrix(grid_affine_mm), grid_size},
                                        ToTarget(labels, confidence, target_affine_mm), num_classes, window, starts)};
          },
          nb::arg("grid_affine_mm"), nb::arg("grid_size_vox"), nb::arg("labels"), nb::arg("confidence"),
          nb::arg("target_affine_mm"), nb::arg("num_classes"), nb::arg("window_vox"), nb::arg("starts"),
          nb::keep_alive<1, 4>(), nb::keep_alive<1, 5>())
      .def(
          "add",
          [](Blend& self, nb::ndarray<const float, nb::ndim<4>, nb::c_contig, nb::device::cpu> logits, Size3 start,
             core::Threads& threads) {
            const Size3 size = {static_cast<Index>(logits.shape(1)), static_cast<Index>(logits.shape(2)),
                                static_cast<Index>(logits.shape(3))};
            if (static_cast<int>(logits.shape(0)) != self.classes || size != self.window) {
              throw std::invalid_argument("logits must be (classes, *window)");
            }
            nb::gil_scoped_release release;
            self.inner.Add(logits.data(), start, threads);
          },
          nb::arg("logits"), nb::arg("start"), nb::arg("threads"))
      .def(
          "finish",
          [](Blend& self, core::Threads& threads) {
            nb::gil_scoped_release release;
            self.inner.Finish(threads);
          },
          nb::arg("threads"))
      .def_prop_ro("counts", [](const Blend& self) { return self.inner.counts(); })
      .def_prop_ro("confidence_sums", [](const Blend& self) { return self.inner.confidence_sums(); })
      .def_prop_ro("label_seconds", [](const Blend& self) { return self.inner.label_seconds(); })
      .def_static(
          "core_bytes",
          [](MatrixArray grid_affine_mm, Size3 grid_size, Size3 target_size, Size3 target_strides,
             MatrixArray target_affine_mm, int num_classes, Size3 window, const std::vector<Size3>& starts,
             int threads) {
            const core::TargetView target{nullptr, nullptr, target_size, target_strides, ToMatrix(target_affine_mm)};
            return core::Accumulator::Bytes({ToMatrix(grid_affine_mm), grid_size}, target, num_classes, window, starts,
                                            threads);
          },
          nb::arg("grid_affine_mm"), nb::arg("grid_size_vox"), nb::arg("target_size_vox"), nb::arg("target_strides"),
          nb::arg("target_affine_mm"), nb::arg("num_classes"), nb::arg("window_vox"), nb::arg("starts"),
          nb::arg("threads"));
  module.def(
      "count_components",
      [](ConstByteArray labels, int num_classes) {
        const Size3 size = ShapeOf(labels), strides = StridesOf(labels);
        nb::gil_scoped_release release;
        return core::CountComponents(labels.data(), size, strides, num_classes);
      },
      nb::arg("labels"), nb::arg("num_classes"));
}

}  // namespace cmc::python
