#include "cmc_core/grid_sampler.h"

#include <optional>
#include <stdexcept>

#include "cmc_core/geometry.h"
#include "cmc_core/tent.h"
#include "cmc_core/voxels.h"

namespace cmc::core {
namespace {

std::variant<AlignedSampler, ObliqueSampler> MakeSampler(const VolumeView& volume, const Matrix4& affine_mm,
                                                         const GridBox& grid, const Size3& largest) {
  CheckVolume(volume);
  if (Count(largest) < 1) throw std::invalid_argument("sampling: a box without voxels");
  const Matrix4 matrix = PositionMap(volume, affine_mm);
  const Point3 half_width = HalfWidths(matrix);
  if (const std::optional<AxisMap> map = AlignAxes(matrix, grid.size)) {
    return AlignedSampler(volume, *map, half_width, grid, largest);
  }
  return ObliqueSampler(volume, matrix, half_width, largest);
}

}  // namespace

GridSampler::GridSampler(const VolumeView& volume, const Matrix4& affine_mm, const GridBox& grid, const Size3& largest)
    : sampler_(MakeSampler(volume, affine_mm, grid, largest)) {}

Index GridSampler::Scratch() const {
  return std::visit([](const auto& sampler) { return sampler.Scratch(); }, sampler_);
}

void GridSampler::Sample(const GridBox& box, const Destination& out, const Finish& finish, Threads& threads,
                         std::pmr::memory_resource* memory) const {
  std::visit([&](const auto& sampler) { sampler.Sample(box, out, finish, threads, memory); }, sampler_);
}

}  // namespace cmc::core
