#include "cmc_core/sampling.h"

#include "cmc_core/grid_sampler.h"
#include "cmc_core/sampled_box.h"

namespace cmc::core {

void SampleLinear(const VolumeView& volume, const Matrix4& window_affine_mm, const Size3& size, float background,
                  float* out, Threads& threads, std::pmr::memory_resource* memory) {
  const GridBox window{{0, 0, 0}, size};
  Finish finish;
  finish.background = background;
  const GridSampler sampler(volume, window_affine_mm, window, size);
  sampler.Sample(window, Destination::Whole(out, size), finish, threads, memory);
}

}  // namespace cmc::core
