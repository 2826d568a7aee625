// Sampling on a grid whose axes run along the source's.
#ifndef CMC_CORE_ALIGNED_SAMPLER_H_
#define CMC_CORE_ALIGNED_SAMPLER_H_

#include <array>
#include <memory_resource>

#include "cmc_core/geometry.h"
#include "cmc_core/sampled_box.h"
#include "cmc_core/tent.h"
#include "cmc_core/threads.h"
#include "cmc_core/types.h"

namespace cmc::core {

// One axis after the other, reading the source in the order in which it lies in memory: a row is converted to float
// once for all samples of a block, added to the samples along the second axis, these rows are reduced along the first,
// and what is left is added to the samples along the slowest.
class AlignedSampler {
 public:
  // `map` leads from the grid to the volume; boxes lie in `grid` and are no larger than `largest`. The voxels of
  // `volume` must outlive the sampler.
  AlignedSampler(const VolumeView& volume, const AxisMap& map, const Point3& half_width, const GridBox& grid,
                 const Size3& largest);

  // Floats that each thread needs.
  Index Scratch() const;

  void Sample(const GridBox& box, const Destination& out, const Finish& finish, Threads& threads,
              std::pmr::memory_resource* memory) const;

 private:
  struct Block;

  template <typename T>
  void Reduce(const Block& block, float background, float* scratch) const;

  // All arrays by the source's axes in the order of memory, the fastest first.
  VolumeView volume_;
  Size3 origin_{};  // first voxel of the grid
  std::array<int, 3> source_axis_{};
  std::array<int, 3> grid_axis_{};
  std::array<TentAxis, 3> axes_;
  Size3 block_{};    // samples of a block
  Index width_ = 0;  // source voxels along the fastest axis that a block may read
};

}  // namespace cmc::core

#endif  // CMC_CORE_ALIGNED_SAMPLER_H_
