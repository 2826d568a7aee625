// Sampling on a grid that lies at an angle to the source.
#ifndef CMC_CORE_OBLIQUE_SAMPLER_H_
#define CMC_CORE_OBLIQUE_SAMPLER_H_

#include <array>
#include <memory_resource>

#include "cmc_core/geometry.h"
#include "cmc_core/sampled_box.h"
#include "cmc_core/threads.h"
#include "cmc_core/types.h"

namespace cmc::core {

// Brick by brick: the source voxels around a brick of samples are converted to floats once (less background, and 0
// outside the source, so that edges need no case of their own), and each sample takes its weighted sum from there.
class ObliqueSampler {
 public:
  // `matrix`: voxel of the grid -> position in the volume. Boxes are no larger than `largest`. The voxels of `volume`
  // must outlive the sampler.
  ObliqueSampler(const VolumeView& volume, const Matrix4& matrix, const Point3& half_width, const Size3& largest);

  // Floats that each thread needs.
  Index Scratch() const;

  void Sample(const GridBox& box, const Destination& out, const Finish& finish, Threads& threads,
              std::pmr::memory_resource* memory) const;

 private:
  struct Source;
  struct Row;

  // Source voxels along each axis that a brick of `side` samples along each of its axes may need.
  Size3 Extent(const Size3& side) const;
  bool Locate(const GridBox& brick, Source* source) const;
  template <typename T>
  void Read(const Source& source, Index begin, Index end, float background, float* voxels) const;
  void Weigh(const Source& source, const Size3& start, Row* row) const;
  template <typename T>
  void SumBrick(const GridBox& brick, float background, float* scratch) const;

  // Arrays are by the source's axes in the order of memory, the fastest first, unless they say grid.
  VolumeView volume_;
  std::array<int, 3> order_{};
  Size3 size_{};
  Size3 strides_{};
  std::array<std::array<double, 4>, 3> rows_{};  // of the matrix
  Point3 half_width_{};
  Size3 taps_{};      // along the fastest axis rounded up to whole vectors
  Size3 brick_{};     // grid: samples of a brick
  Index voxels_ = 0;  // source voxels that are held at once
};

}  // namespace cmc::core

#endif  // CMC_CORE_OBLIQUE_SAMPLER_H_
