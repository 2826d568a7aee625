// Geometry and windows.
#include "cmc_core/geometry.h"

#include "cmc_core/windows.h"
#include "cmc_python/convert.h"

namespace cmc::python {

void BindGeometry(nb::module_& module) {
  using core::ModelGrid;
  using core::Point3;
  using core::Size3;

  module.def(
      "model_grid",
      [](MatrixArray affine_mm, Size3 size, Point3 spacing_mm) {
        const ModelGrid grid = core::MakeModelGrid(ToMatrix(affine_mm), size, spacing_mm);
        return nb::make_tuple(FromMatrix(grid.affine_mm), nb::cast(grid.size));
      },
      nb::arg("affine_mm"), nb::arg("size_vox"), nb::arg("spacing_mm"));
  module.def(
      "extend_grid",
      [](MatrixArray grid_affine_mm, Size3 grid_size, MatrixArray affine_mm, Size3 size) {
        const ModelGrid grid = core::ExtendGrid({ToMatrix(grid_affine_mm), grid_size}, ToMatrix(affine_mm), size);
        return nb::make_tuple(FromMatrix(grid.affine_mm), nb::cast(grid.size));
      },
      nb::arg("grid_affine_mm"), nb::arg("grid_size_vox"), nb::arg("affine_mm"), nb::arg("size_vox"));
  module.def(
      "boxes_overlap",
      [](MatrixArray affine_mm, Size3 size, MatrixArray other_affine_mm, Size3 other_size) {
        return core::BoxesOverlap(ToMatrix(affine_mm), size, ToMatrix(other_affine_mm), other_size);
      },
      nb::arg("affine_mm"), nb::arg("size_vox"), nb::arg("other_affine_mm"), nb::arg("other_size_vox"));
  module.def("window_starts", &core::WindowStarts, nb::arg("size_vox"), nb::arg("window_vox"), nb::arg("overlap"));
  module.def("gaussian_axes", &core::GaussianAxes, nb::arg("window_vox"), nb::arg("sigma_scale"));
  module.def("longest_axis", &core::LongestAxis, nb::arg("size_vox"));
  module.def("ring_size", &core::RingSize, nb::arg("size_vox"), nb::arg("window_vox"));
  module.def(
      "constant_value",
      [](ConstFloatArray window) { return core::ConstantValue(window.data(), static_cast<Index>(window.size())); },
      nb::arg("window"));
}

}  // namespace cmc::python
