#include "cmc_core/components.h"

#include <array>
#include <cstring>
#include <stdexcept>
#include <string>
#include <utility>

#include "cmc_core/memory_order.h"

namespace cmc::core {
namespace {

using Id = std::int32_t;  // of a run within two planes: no plane holds 2^30 of them

struct Run {
  Index begin;
  Index end;
  std::uint8_t label;
};

// The runs of one plane, row after row; label 0 has none.
struct Plane {
  explicit Plane(std::pmr::memory_resource* memory) : runs(memory), rows(memory) {}

  std::pmr::vector<Run> runs;
  std::pmr::vector<Id> rows;  // first run of each row, and the number of runs
};

// Index of the first label in [begin, end) that is not `label`.
Index EndOfRun(const std::uint8_t* row, Index begin, Index end, std::uint8_t label) {
  std::uint64_t eight;
  std::memset(&eight, label, sizeof(eight));
  while (begin + 8 <= end) {
    std::uint64_t word;
    std::memcpy(&word, row + begin, sizeof(word));
    if (word != eight) break;
    begin += 8;
  }
  while (begin < end && row[begin] == label) ++begin;
  return begin;
}

// Joins pieces; the root of a piece is its lowest run.
class Forest {
 public:
  explicit Forest(std::pmr::memory_resource* memory) : parents_(memory) {}

  Id Root(Id run) {
    while (parents_[run] != run) {
      parents_[run] = parents_[parents_[run]];
      run = parents_[run];
    }
    return run;
  }

  // Whether they were apart.
  bool Join(Id a, Id b) {
    a = Root(a);
    b = Root(b);
    if (a == b) return false;
    if (b < a) std::swap(a, b);
    parents_[b] = a;
    return true;
  }

  // Adds `count` runs, each a piece of its own.
  void Grow(std::size_t count) {
    for (std::size_t i = 0; i < count; ++i) parents_.push_back(static_cast<Id>(parents_.size()));
  }

  // Forgets the first `count` runs. What they held together stays together, under the lowest run that is left.
  void Drop(Id count) {
    const auto size = static_cast<Id>(parents_.size());
    for (Id run = count; run < size; ++run) {
      const Id root = Root(run);
      if (root >= count) continue;
      parents_[root] = run;
      parents_[run] = run;
    }
    for (Id run = count; run < size; ++run) parents_[run] = Root(run);
    for (Id run = count; run < size; ++run) parents_[run - count] = parents_[run] - count;
    parents_.resize(size - count);
  }

 private:
  std::pmr::vector<Id> parents_;
};

class Counter {
 public:
  Counter(Index height, int num_classes, std::pmr::memory_resource* memory)
      : height_(height), counts_(num_classes, 0), before_(memory), plane_(memory), forest_(memory) {
    before_.rows.assign(height + 1, 0);
  }

  // Adds a row of labels to the plane in hand.
  void AddRow(const std::uint8_t* row, Index width) {
    plane_.rows.push_back(static_cast<Id>(plane_.runs.size()));
    for (Index begin = 0; begin < width;) {
      const std::uint8_t label = row[begin];
      const Index end = EndOfRun(row, begin + 1, width, label);
      if (label >= counts_.size()) {
        throw std::invalid_argument("components: label " + std::to_string(label) + " with " +
                                    std::to_string(counts_.size()) + " classes");
      }
      if (label != 0) {
        plane_.runs.push_back({begin, end, label});
        ++counts_[label];
      }
      begin = end;
    }
  }

  // Joins the rows of the plane in hand with each other and with those of the one before.
  void EndPlane() {
    plane_.rows.push_back(static_cast<Id>(plane_.runs.size()));
    const auto shift = static_cast<Id>(before_.runs.size());
    forest_.Grow(plane_.runs.size());
    for (Index y = 0; y < height_; ++y) {
      if (y > 0) JoinRows(plane_, y - 1, shift, y, shift);
      JoinRows(before_, y, 0, y, shift);
    }
    forest_.Drop(shift);
    std::swap(before_, plane_);
    plane_.runs.clear();
    plane_.rows.clear();
  }

  std::vector<Index> counts() const { return counts_; }

 private:
  // Joins runs of one label that touch, of row `other_y` of a plane and row `y` of the one in hand.
  void JoinRows(const Plane& other, Index other_y, Id other_shift, Index y, Id shift) {
    Id a = other.rows[other_y];
    Id b = plane_.rows[y];
    const Id a_end = other.rows[other_y + 1];
    const Id b_end = plane_.rows[y + 1];
    while (a < a_end && b < b_end) {
      const Run& first = other.runs[a];
      const Run& second = plane_.runs[b];
      const bool touch = first.begin < second.end && second.begin < first.end;
      if (touch && first.label == second.label && forest_.Join(a + other_shift, b + shift)) --counts_[first.label];
      if (first.end <= second.end) ++a;
      if (second.end <= first.end) ++b;
    }
  }

  Index height_;
  std::vector<Index> counts_;  // runs so far, less joints: every joint makes one piece of two
  Plane before_;
  Plane plane_;
  Forest forest_;
};

}  // namespace

std::vector<Index> CountComponents(const std::uint8_t* labels, const Size3& size, const Size3& strides, int num_classes,
                                   std::pmr::memory_resource* memory) {
  if (num_classes < 1 || num_classes > 256) throw std::invalid_argument("components: 1 to 256 classes are possible");
  if (size[0] < 1 || size[1] < 1 || size[2] < 1) throw std::invalid_argument("components: no voxels");
  const auto [fast, middle, slow] = MemoryOrder(size, strides);
  std::pmr::vector<std::uint8_t> copy(memory);  // of a row whose labels do not lie side by side
  if (strides[fast] != 1) copy.resize(size[fast]);
  Counter counter(size[middle], num_classes, memory);
  for (Index z = 0; z < size[slow]; ++z) {
    for (Index y = 0; y < size[middle]; ++y) {
      const std::uint8_t* row = labels + y * strides[middle] + z * strides[slow];
      for (std::size_t x = 0; x < copy.size(); ++x) copy[x] = row[static_cast<Index>(x) * strides[fast]];
      counter.AddRow(copy.empty() ? row : copy.data(), size[fast]);
    }
    counter.EndPlane();
  }
  return counter.counts();
}

}  // namespace cmc::core
