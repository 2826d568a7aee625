// How far voxels lie from the surface of a class.
#ifndef CMC_CORE_DISTANCE_H_
#define CMC_CORE_DISTANCE_H_

#include <cstdint>
#include <memory_resource>
#include <vector>

#include "cmc_core/types.h"

namespace cmc::core {

// Squared distance from the centre of each of `points` (x, y, z side by side) to the nearest surface voxel of class
// `label`, exact, in the square of the unit of `spacing`; infinity where no voxel has the label. A surface voxel has
// the label and touches, through a face, a voxel that has not, or the border of the grid. The axes are taken to be
// orthogonal. The memory is that of a plane of doubles, whatever the depth. Throws std::invalid_argument for a point
// outside the grid or a spacing that is not above 0.
std::vector<double> SquaredSurfaceDistances(const std::uint8_t* labels, const Size3& size, const Size3& strides,
                                            std::uint8_t label, const Point3& spacing, const Index* points, Index count,
                                            std::pmr::memory_resource* memory = std::pmr::get_default_resource());

}  // namespace cmc::core

#endif  // CMC_CORE_DISTANCE_H_
