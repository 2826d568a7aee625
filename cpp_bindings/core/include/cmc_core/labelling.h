// From blended logits on the model grid to labels on the target grid, slab by slab.
#ifndef CMC_CORE_LABELLING_H_
#define CMC_CORE_LABELLING_H_

#include <cstdint>
#include <memory>
#include <memory_resource>
#include <vector>

#include "cmc_core/accumulator.h"
#include "cmc_core/geometry.h"
#include "cmc_core/raw_buffer.h"
#include "cmc_core/ring.h"
#include "cmc_core/threads.h"
#include "cmc_core/types.h"

namespace cmc::core {

// Counts voxels by label and confidence: integers, so that sums depend neither on threads nor on the slabs' order.
class LabelTally {
 public:
  LabelTally(int num_classes, std::pmr::memory_resource* memory) : num_classes_(num_classes), memory_(memory) {}

  // To be called before `threads` threads count.
  void Prepare(int threads);

  void Add(int thread, const std::uint8_t* labels, const std::uint8_t* confidence, Index count) {
    std::int64_t* joint = joint_.data() + thread * Size();
    // Two counters for each pair take turns: neighbours are alike, and one would wait for its own last store.
    for (Index i = 0; i < count; ++i) ++joint[(labels[i] * 256 + confidence[i]) * 2 + (i & 1)];
  }

  void Total(std::vector<std::int64_t>* counts, std::vector<double>* confidence_sums) const;

  static Index Bytes(int num_classes, int threads) {
    return num_classes * Index{256 * 2} * threads * static_cast<Index>(sizeof(std::int64_t));
  }

 private:
  Index Size() const { return num_classes_ * Index{256 * 2}; }

  int num_classes_;
  std::pmr::memory_resource* memory_;
  RawBuffer<std::int64_t> joint_;
};

// Labels of a target grid that are written as slices of the model grid close.
class Labelling {
 public:
  virtual ~Labelling() = default;

  // Labels every target voxel whose neighbours all lie below slice `until` and that has no label yet. `base` is the
  // first model slice that `ring` still holds; `last` says that no slice is open any more: what is left is labelled.
  virtual void Write(const RingView& ring, Index base, Index until, bool last, Threads& threads) = 0;

  const LabelTally& tally() const { return tally_; }

 protected:
  Labelling(int num_classes, std::pmr::memory_resource* memory) : tally_(num_classes, memory) {}

  LabelTally tally_;
};

// What a labelling is made for.
struct LabellingPlan {
  Matrix4 matrix{};  // voxel index of the target grid -> position in the model grid
  Size3 model_size{};
  Size3 ring_size{};
  int axis = 0;  // model axis along which slices close
  int num_classes = 0;
};

std::unique_ptr<Labelling> MakeLabelling(const LabellingPlan& plan, const TargetView& target,
                                         std::pmr::memory_resource* memory);

// Bytes that it takes from its memory resource while it works on `threads` threads.
Index LabellingBytes(const LabellingPlan& plan, const TargetView& target, int threads);

// The two kinds: a target grid whose axes run along those of the model grid, and one in general position.
std::unique_ptr<Labelling> MakeAlignedLabelling(const LabellingPlan& plan, const AxisMap& map, const TargetView& target,
                                                std::pmr::memory_resource* memory);
Index AlignedLabellingBytes(const LabellingPlan& plan, const AxisMap& map, const TargetView& target, int threads);
std::unique_ptr<Labelling> MakeObliqueLabelling(const LabellingPlan& plan, const TargetView& target,
                                                std::pmr::memory_resource* memory);
Index ObliqueLabellingBytes(const LabellingPlan& plan, const TargetView& target, int threads);

}  // namespace cmc::core

#endif  // CMC_CORE_LABELLING_H_
