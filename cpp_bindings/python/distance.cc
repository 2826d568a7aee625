// Distances from the surface of a class.
#include "cmc_core/distance.h"

#include "cmc_python/convert.h"

namespace cmc::python {

void BindDistance(nb::module_& module) {
  using LabelArray = nb::ndarray<const std::uint8_t, nb::ndim<3>, nb::device::cpu>;
  using PointArray = nb::ndarray<const std::int64_t, nb::shape<-1, 3>, nb::c_contig, nb::device::cpu>;

  module.def(
      "squared_surface_distances",
      [](LabelArray labels, int label, core::Point3 spacing, PointArray points) {
        if (label < 0 || label > 255) throw std::invalid_argument("a label is 0 to 255");
        const core::Size3 size = ShapeOf(labels);
        const core::Size3 strides{labels.stride(0), labels.stride(1), labels.stride(2)};  // of one byte each
        auto* found = new std::vector<double>();
        nb::capsule owner(found, [](void* pointer) noexcept { delete static_cast<std::vector<double>*>(pointer); });
        {
          nb::gil_scoped_release release;
          *found = core::SquaredSurfaceDistances(labels.data(), size, strides, static_cast<std::uint8_t>(label),
                                                 spacing, points.data(), static_cast<Index>(points.shape(0)));
        }
        return nb::ndarray<nb::numpy, double, nb::ndim<1>>(found->data(), {found->size()}, owner);
      },
      nb::arg("labels"), nb::arg("label"), nb::arg("spacing"), nb::arg("points"));
}

}  // namespace cmc::python
