// Intensity statistics and normalising.
#include "cmc_core/intensity.h"

#include <nanobind/stl/string.h>

#include "cmc_python/convert.h"

namespace cmc::python {

void BindIntensity(nb::module_& module) {
  using core::IntensityStatistics;

  nb::class_<IntensityStatistics>(module, "Statistics")
      .def_ro("background", &IntensityStatistics::background)
      .def_ro("has_border", &IntensityStatistics::has_border)
      .def_ro("mean", &IntensityStatistics::mean)
      .def_ro("std", &IntensityStatistics::std)
      .def_ro("minimum", &IntensityStatistics::minimum)
      .def_ro("maximum", &IntensityStatistics::maximum)
      .def_ro("finite", &IntensityStatistics::finite)
      .def_ro("foreground_fraction", &IntensityStatistics::foreground_fraction)
      .def_ro("foreground_mean", &IntensityStatistics::foreground_mean)
      .def_ro("body_box", &IntensityStatistics::body_box);
  module.def(
      "statistics",
      [](StoredArray stored, MatrixArray affine_mm, double slope, double intercept,
         std::optional<std::array<double, 2>> clip, const std::string& scale, core::Threads& threads) {
        const core::VolumeView volume = ToVolume(stored, affine_mm, slope, intercept);
        const core::IntensityRule rule = ToRule(clip, scale);
        nb::gil_scoped_release release;
        return core::Statistics(volume, rule, threads);
      },
      nb::arg("stored"), nb::arg("affine_mm"), nb::arg("slope"), nb::arg("intercept"), nb::arg("clip").none(),
      nb::arg("scale"), nb::arg("threads"));
  module.def(
      "normalise",
      [](FloatArray values, std::optional<std::array<double, 2>> clip, const std::string& scale, double mean,
         double std) {
        IntensityStatistics statistics;
        statistics.mean = mean;
        statistics.std = std;
        nb::gil_scoped_release release;
        core::Normalise(values.data(), static_cast<Index>(values.size()), ToRule(clip, scale), statistics);
      },
      nb::arg("values"), nb::arg("clip").none(), nb::arg("scale"), nb::arg("mean"), nb::arg("std"),
      "Changes `values` in place.");
}

}  // namespace cmc::python
