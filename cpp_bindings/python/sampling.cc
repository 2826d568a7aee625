// Sampling windows.
#include "cmc_core/sampling.h"

#include <nanobind/stl/string.h>

#include "cmc_python/convert.h"

namespace cmc::python {

namespace {

// The sampler, and the window's size: what is written into must be as large.
struct Sampler {
  core::Size3 window;
  core::WindowSampler inner;
};

}  // namespace

void BindSampling(nb::module_& module) {
  using core::Size3;
  using Window = nb::ndarray<float, nb::ndim<3>, nb::c_contig, nb::device::cpu>;
  using AnyWindow = nb::ndarray<nb::ndim<3>, nb::c_contig, nb::device::cpu>;

  module.def(
      "sample_linear",
      [](StoredArray stored, MatrixArray affine_mm, double slope, double intercept, MatrixArray window_affine_mm,
         float background, Window out, core::Threads& threads) {
        const core::VolumeView volume = ToVolume(stored, affine_mm, slope, intercept);
        const core::Matrix4 window = ToMatrix(window_affine_mm);
        const Size3 size = ShapeOf(out);
        nb::gil_scoped_release release;
        core::SampleLinear(volume, window, size, background, out.data(), threads);
      },
      nb::arg("stored"), nb::arg("affine_mm"), nb::arg("slope"), nb::arg("intercept"), nb::arg("window_affine_mm"),
      nb::arg("background"), nb::arg("out"), nb::arg("threads"));
  module.def(
      "sample_nearest",
      [](StoredArray stored, MatrixArray affine_mm, MatrixArray window_affine_mm,
         nb::ndarray<nb::ro, nb::ndim<1>, nb::device::cpu> background, AnyWindow out, core::Threads& threads) {
        if (out.dtype() != stored.dtype() || background.dtype() != stored.dtype() || background.size() != 1) {
          throw std::invalid_argument("out and background must have the type of the stored voxels");
        }
        const core::VolumeView volume = ToVolume(stored, affine_mm, 1.0, 0.0);
        const core::Matrix4 window = ToMatrix(window_affine_mm);
        const Size3 size = ShapeOf(out);
        nb::gil_scoped_release release;
        core::SampleNearest(volume, window, size, static_cast<const std::byte*>(background.data()),
                            static_cast<std::byte*>(out.data()), threads);
      },
      nb::arg("stored"), nb::arg("affine_mm"), nb::arg("window_affine_mm"), nb::arg("background"), nb::arg("out"),
      nb::arg("threads"));

  nb::class_<Sampler>(module, "WindowSampler")
      .def(
          "__init__",
          [](Sampler* self, StoredArray stored, MatrixArray affine_mm, double slope, double intercept,
             MatrixArray grid_affine_mm, Size3 grid_size, Size3 window, const std::vector<Size3>& starts,
             std::optional<std::array<double, 2>> clip, const std::string& scale, double background, double mean,
             double std) {
            core::IntensityStatistics statistics;
            statistics.background = background;
            statistics.mean = mean;
            statistics.std = std;
            new (self) Sampler{window, core::WindowSampler(ToVolume(stored, affine_mm, slope, intercept),
                                                           {ToMatrix(grid_affine_mm), grid_size}, window, starts,
                                                           ToRule(clip, scale), statistics)};
          },
          nb::arg("stored"), nb::arg("affine_mm"), nb::arg("slope"), nb::arg("intercept"), nb::arg("grid_affine_mm"),
          nb::arg("grid_size_vox"), nb::arg("window_vox"), nb::arg("starts"), nb::arg("clip").none(), nb::arg("scale"),
          nb::arg("background"), nb::arg("mean"), nb::arg("std"), nb::keep_alive<1, 2>())
      .def(
          "window",
          [](Sampler& self, Size3 start, Window out, core::Threads& threads) {
            if (ShapeOf(out) != self.window) throw std::invalid_argument("out must be as large as a window");
            nb::gil_scoped_release release;
            return self.inner.Window(start, out.data(), threads);
          },
          nb::arg("start"), nb::arg("out"), nb::arg("threads"))
      .def_static(
          "core_bytes",
          [](StoredArray stored, MatrixArray affine_mm, MatrixArray grid_affine_mm, Size3 grid_size, Size3 window,
             const std::vector<Size3>& starts, int threads) {
            return core::WindowSampler::Bytes(ToVolume(stored, affine_mm, 1.0, 0.0),
                                              {ToMatrix(grid_affine_mm), grid_size}, window, starts, threads);
          },
          nb::arg("stored"), nb::arg("affine_mm"), nb::arg("grid_affine_mm"), nb::arg("grid_size_vox"),
          nb::arg("window_vox"), nb::arg("starts"), nb::arg("threads"));
}

}  // namespace cmc::python
