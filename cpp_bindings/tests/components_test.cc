#include "cmc_core/components.h"

#include <gtest/gtest.h>

#include <stdexcept>
#include <vector>

#include "cmc_tests/scans.h"

namespace cmc::core {
namespace {

// Counts pieces by filling one after the other.
std::vector<Index> CountByFilling(Scan<std::uint8_t>& labels, int num_classes) {
  std::vector<Index> counts(num_classes, 0);
  const Size3 size = labels.view.size;
  std::vector<bool> seen(Count(size), false);
  const auto place = [&](const Size3& v) { return (v[0] * size[1] + v[1]) * size[2] + v[2]; };
  labels.Each([&](std::uint8_t label, Index x, Index y, Index z) {
    if (label == 0 || seen[place({x, y, z})]) return;
    ++counts[label];
    std::vector<Size3> open{{x, y, z}};
    seen[place(open[0])] = true;
    while (!open.empty()) {
      const Size3 voxel = open.back();
      open.pop_back();
      for (int axis = 0; axis < 3; ++axis) {
        for (const Index step : {-1, 1}) {
          Size3 next = voxel;
          next[axis] += step;
          if (next[axis] < 0 || next[axis] >= size[axis] || seen[place(next)]) continue;
          if (labels.At(next[0], next[1], next[2]) != label) continue;
          seen[place(next)] = true;
          open.push_back(next);
        }
      }
    }
  });
  return counts;
}

std::vector<Index> CountIn(const Scan<std::uint8_t>& labels, int num_classes, std::pmr::memory_resource* memory) {
  return CountComponents(reinterpret_cast<const std::uint8_t*>(labels.view.data), labels.view.size, labels.view.strides,
                         num_classes, memory);
}

std::vector<Index> CountIn(const Scan<std::uint8_t>& labels, int num_classes) {
  return CountIn(labels, num_classes, std::pmr::get_default_resource());
}

TEST(CountComponents, RandomLabels) {
  Dice dice(1);
  for (int round = 0; round < 300; ++round) {
    Scan<std::uint8_t> labels(dice.Size(1, 12), dice.Layout());
    const double density = dice.Real(0, 1);
    const Index classes = dice.Whole(1, 3);
    labels.Each([&](std::uint8_t& label, Index, Index, Index) {
      label = dice.Chance(density) ? static_cast<std::uint8_t>(dice.Whole(1, classes)) : std::uint8_t{0};
    });
    EXPECT_EQ(CountIn(labels, 4), CountByFilling(labels, 4));
  }
}

TEST(CountComponents, LongRunsOfAFewThings) {
  Dice dice(2);
  for (int round = 0; round < 30; ++round) {
    Scan<std::uint8_t> labels({70, 30, 20}, {dice.Order(), {}, 1});
    for (int box = 0; box < 40; ++box) {
      const Size3 low{dice.Whole(0, 69), dice.Whole(0, 29), dice.Whole(0, 19)};
      const Size3 high{dice.Whole(low[0], 69), dice.Whole(low[1], 29), dice.Whole(low[2], 19)};
      const auto label = static_cast<std::uint8_t>(dice.Whole(0, 5));
      labels.Each([&](std::uint8_t& value, Index x, Index y, Index z) {
        const bool inside = x >= low[0] && x <= high[0] && y >= low[1] && y <= high[1] && z >= low[2] && z <= high[2];
        if (inside && (x + y + z) % 11 != 0) value = label;
      });
    }
    EXPECT_EQ(CountIn(labels, 6), CountByFilling(labels, 6));
  }
}

// Branches that meet only in the last plane, after most of what they are made of is forgotten.
TEST(CountComponents, BranchesThatMeetLate) {
  Scan<std::uint8_t> labels({15, 3, 40}, {kFortranOrder, {}, 1});
  for (Index x = 0; x < 15; x += 2) {
    for (Index z = 0; z < 40; ++z) labels.At(x, 1, z) = 1;
  }
  EXPECT_EQ(CountIn(labels, 2), (std::vector<Index>{0, 8}));
  for (Index x = 0; x < 15; ++x) labels.At(x, 1, 39) = 1;
  EXPECT_EQ(CountIn(labels, 2), (std::vector<Index>{0, 1}));
  for (Index x = 0; x < 15; ++x) labels.At(x, 1, 0) = 1;  // rings
  EXPECT_EQ(CountIn(labels, 2), (std::vector<Index>{0, 1}));
  for (Index x = 0; x < 15; ++x) labels.At(x, 1, 20) = 0;
  EXPECT_EQ(CountIn(labels, 2), (std::vector<Index>{0, 2}));
}

TEST(CountComponents, DiagonalsAndOtherClassesDoNotJoin) {
  Scan<std::uint8_t> labels({2, 2, 2});
  labels.At(0, 0, 0) = labels.At(1, 1, 0) = labels.At(1, 0, 1) = labels.At(0, 1, 1) = 1;
  EXPECT_EQ(CountIn(labels, 3), (std::vector<Index>{0, 4, 0}));
  labels.At(0, 0, 1) = 2;
  EXPECT_EQ(CountIn(labels, 3), (std::vector<Index>{0, 4, 1}));
}

TEST(CountComponents, MemoryIsThatOfTwoPlanes) {
  Dice dice(3);
  CountedMemory few, many;
  for (const Index depth : {4, 64}) {
    Scan<std::uint8_t> labels({40, 40, depth}, {kFortranOrder, {}, 1});
    labels.Each([&](std::uint8_t& label, Index, Index, Index) { label = dice.Chance(0.5) ? 1 : 0; });
    CountIn(labels, 2, depth == 4 ? &few : &many);
  }
  EXPECT_GT(few.peak(), 0);
  EXPECT_LT(many.peak(), 3 * few.peak());
  EXPECT_EQ(many.held(), 0);
}

TEST(CountComponents, BadInput) {
  Scan<std::uint8_t> labels({3, 3, 3});
  EXPECT_EQ(CountIn(labels, 1), (std::vector<Index>{0}));
  labels.At(1, 1, 1) = 255;
  EXPECT_EQ(CountIn(labels, 256)[255], 1);
  EXPECT_THROW(CountIn(labels, 255), std::invalid_argument);
  EXPECT_THROW(CountIn(labels, 0), std::invalid_argument);
  EXPECT_THROW(CountIn(labels, 257), std::invalid_argument);
  EXPECT_THROW(CountComponents(nullptr, {0, 1, 1}, {1, 1, 1}, 2), std::invalid_argument);
}

}  // namespace
}  // namespace cmc::core
