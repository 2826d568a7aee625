// Sampling boxes of one grid from one volume, whether its axes run along the volume's or not.
#pragma once

#include <memory_resource>
#include <variant>

#include "core/aligned_sampler.h"
#include "core/oblique_sampler.h"
#include "core/sampled_box.h"
#include "core/threads.h"
#include "core/types.h"

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
