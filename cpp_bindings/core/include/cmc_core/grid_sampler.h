// Sampling boxes of one grid from one volume, whether its axes run along the volume's or not.
#ifndef CMC_CORE_GRID_SAMPLER_H_
#define CMC_CORE_GRID_SAMPLER_H_

#include <memory_resource>
#include <variant>

#include "cmc_core/aligned_sampler.h"
#include "cmc_core/oblique_sampler.h"
#include "cmc_core/sampled_box.h"
#include "cmc_core/threads.h"
#include "cmc_core/types.h"

namespace cmc::core {

class GridSampler {
 public:
  // Boxes lie in `grid`, counted in voxels of `affine_mm`, and are no larger than `largest`. The voxels of `volume`
  // must outlive the sampler.
  GridSampler(const VolumeView& volume, const Matrix4& affine_mm, const GridBox& grid, const Size3& largest);

  // Floats that each thread needs while it samples.
  Index Scratch() const;

  void Sample(const GridBox& box, const Destination& out, const Finish& finish, Threads& threads,
              std::pmr::memory_resource* memory) const;

 private:
  std::variant<AlignedSampler, ObliqueSampler> sampler_;
};

}  // namespace cmc::core

#endif  // CMC_CORE_GRID_SAMPLER_H_
