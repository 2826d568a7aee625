// The ring of open slices: windows are added to it, and slices that no later window touches are turned into labels.
#ifndef CMC_CORE_ACCUMULATOR_H_
#define CMC_CORE_ACCUMULATOR_H_

#include <cstdint>
#include <memory>
#include <memory_resource>
#include <vector>

#include "cmc_core/threads.h"
#include "cmc_core/types.h"

namespace cmc::core {

// Where labels go: a grid of the caller's, one byte a voxel, and confidence in steps of 1/255 beside it.
struct TargetView {
  std::uint8_t* labels = nullptr;      // voxel (0, 0, 0)
  std::uint8_t* confidence = nullptr;  // the same layout
  Size3 size{};
  Size3 strides{};      // bytes, of both
  Matrix4 affine_mm{};  // voxel index -> RAS position in mm
};

// Blends window logits on a model grid and labels a target grid slab by slab; logits of either never exist whole.
//
// Windows are weighted by a separable Gaussian that is divided by its own sum beforehand (BlendProfiles), and added up
// in FP32 in a buffer (K, ring) of window + 1 slices along the model grid's longest axis. When a window starts beyond a
// slice, the slice is closed: the target voxels between closed slices get their logits by trilinear interpolation (a
// voxel beyond the model grid takes its edge), their label by argmax (the lowest index on a tie) and the softmax of it,
// floor(255 * p + 0.5), as confidence. Positions are rounded to 1e-6 voxel. Labels do not depend on the number of
// threads.
class Accumulator {
 public:
  // `starts`: first voxels of all windows, a product of three axes (WindowStarts), in any order. `target`'s arrays must
  // outlive it; every voxel of them is written by Finish's end. Throws std::invalid_argument for num_classes outside
  // [2, 256] or an empty size.
  Accumulator(const ModelGrid& grid, const TargetView& target, int num_classes, const Size3& window,
              const std::vector<Size3>& starts, std::pmr::memory_resource* memory = std::pmr::get_default_resource());
  ~Accumulator();
  Accumulator(const Accumulator&) = delete;
  Accumulator& operator=(const Accumulator&) = delete;

  // Adds one window's logits (K, X, Y, Z), C order, finite. Along the ring's axis starts must not decrease: throws
  // std::invalid_argument for a start that comes too late, or is none of the planned ones.
  void Add(const float* logits, const Size3& start, Threads& threads);

  // Labels what is left.
  void Finish(Threads& threads);

  const std::vector<std::int64_t>& counts() const;     // voxels by class, K; complete after Finish
  const std::vector<double>& confidence_sums() const;  // summed confidence in [0, 1] by class: exact multiples of 1/255
  double label_seconds() const;                        // spent so far on labelling closed slices

  // Bytes that an accumulator holds, the largest while it works included, without the target's arrays.
  static Index Bytes(const ModelGrid& grid, const TargetView& target, int num_classes, const Size3& window,
                     const std::vector<Size3>& starts, int threads);

 private:
  struct State;
  std::unique_ptr<State> state_;
};

}  // namespace cmc::core

#endif  // CMC_CORE_ACCUMULATOR_H_
