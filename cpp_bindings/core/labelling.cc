#include "cmc_core/labelling.h"

#include <algorithm>

namespace cmc::core {

void LabelTally::Prepare(int threads) {
  const auto wanted = static_cast<std::size_t>(Size() * threads);
  if (joint_.count() >= wanted) return;
  RawBuffer<std::int64_t> grown(wanted, memory_);
  std::fill(std::copy_n(joint_.data(), joint_.count(), grown.data()), grown.data() + wanted, 0);
  joint_ = std::move(grown);
}

void LabelTally::Total(std::vector<std::int64_t>* counts, std::vector<double>* confidence_sums) const {
  counts->assign(num_classes_, 0);
  confidence_sums->assign(num_classes_, 0.0);
  for (int c = 0; c < num_classes_; ++c) {
    std::int64_t voxels = 0;
    std::int64_t sum = 0;
    for (std::size_t first = 0; first < joint_.count(); first += Size()) {
      const std::int64_t* joint = joint_.data() + first + c * Index{256 * 2};
      for (int value = 0; value < 256; ++value) {
        const std::int64_t found = joint[2 * value] + joint[2 * value + 1];
        voxels += found;
        sum += found * value;
      }
    }
    (*counts)[c] = voxels;
    (*confidence_sums)[c] = static_cast<double>(sum) / 255.0;
  }
}

std::unique_ptr<Labelling> MakeLabelling(const LabellingPlan& plan, const TargetView& target,
                                         std::pmr::memory_resource* memory) {
  const std::optional<AxisMap> map = AlignAxes(plan.matrix, target.size);
  return map ? MakeAlignedLabelling(plan, *map, target, memory) : MakeObliqueLabelling(plan, target, memory);
}

Index LabellingBytes(const LabellingPlan& plan, const TargetView& target, int threads) {
  const std::optional<AxisMap> map = AlignAxes(plan.matrix, target.size);
  const Index own =
      map ? AlignedLabellingBytes(plan, *map, target, threads) : ObliqueLabellingBytes(plan, target, threads);
  return own + LabelTally::Bytes(plan.num_classes, threads);
}

}  // namespace cmc::core
