// The tent kernel w(d) = max(0, 1 - |d| / h), normalised to sum 1, and its weights along one axis of an aligned grid.
#ifndef CMC_CORE_TENT_H_
#define CMC_CORE_TENT_H_

#include <utility>
#include <vector>

#include "cmc_core/geometry.h"
#include "cmc_core/types.h"

namespace cmc::core {

// Half-widths by source axis: max(1, r), r the length of that row of an index map's linear part, rounded to 1e-6.
Point3 HalfWidths(const Matrix4& matrix);

// Neighbours that may have a weight: ceil(2 h).
Index TentTaps(double half_width);

// Which source voxels make each sample along one axis, and which samples each source voxel adds to.
class TentAxis {
 public:
  struct Share {
    Index sample;
    float weight;
  };

  // Samples at map.Position(axis, low + i) for i in [0, count), from `size` source voxels. Weights are divided by the
  // sum over all neighbours, those outside the source included, which are then left out.
  TentAxis(const AxisMap& map, int axis, Index low, Index count, double half_width, Index size);

  // Weights of a sample; the same number for each. Those of voxels that do not count are 0.
  Index taps() const { return taps_; }

  // The first source voxel of a sample's weights: all lie within the source.
  Index first(Index sample) const { return first_[sample]; }
  const float* weights(Index sample) const { return weights_.data() + sample * taps_; }

  // Half-open range of source voxels that the weights of samples [begin, end) stand for; empty if all are 0.
  std::pair<Index, Index> Span(Index begin, Index end) const;

  // The samples that a source voxel adds to, in rising order.
  const Share* begin(Index source) const { return shares_.data() + share_begin_[source]; }
  const Share* end(Index source) const { return shares_.data() + share_begin_[source + 1]; }

 private:
  Index taps_;
  std::vector<Index> first_;
  std::vector<float> weights_;
  std::vector<Index> share_begin_;
  std::vector<Share> shares_;
};

}  // namespace cmc::core

#endif  // CMC_CORE_TENT_H_
