#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <stdexcept>
#include <vector>

#include "cmc_core/geometry.h"
#include "cmc_core/sampling.h"
#include "cmc_core/windows.h"
#include "cmc_tests/sampling_reference.h"
#include "cmc_tests/scans.h"

namespace cmc::core {
namespace {

IntensityStatistics Figures() {
  IntensityStatistics statistics;
  statistics.background = -20.0;
  statistics.mean = 12.5;
  statistics.std = 40.0;
  return statistics;
}

IntensityRule Rule(bool clipped) {
  IntensityRule rule;
  rule.has_clip = clipped;
  rule.clip_low = -60.0;
  rule.clip_high = 70.0;
  return rule;
}

// Starts in an order that the sampler takes.
std::vector<Size3> Ordered(const ModelGrid& grid, std::vector<Size3> starts) {
  const int axis = LongestAxis(grid.size);
  std::stable_sort(starts.begin(), starts.end(), [&](const Size3& a, const Size3& b) { return a[axis] < b[axis]; });
  return starts;
}

std::vector<float> OwnWindow(const VolumeView& volume, const ModelGrid& grid, const Size3& start, const Size3& window,
                             const IntensityRule& rule, Threads& threads) {
  std::vector<float> out(Count(window));
  SampleLinear(volume, MoveStart(grid.affine_mm, start), window, static_cast<float>(Figures().background), out.data(),
               threads);
  Normalise(out.data(), Count(window), rule, Figures());
  return out;
}

TEST(WindowSampler, WindowsAreThoseSampledAlone) {
  Dice dice(1);
  Threads threads(2);
  for (int round = 0; round < 60; ++round) {
    Scan<std::int16_t> scan(dice.Size(1, 24), dice.Layout());
    scan.FillNoise(dice.random, -100, 100);
    scan.view.affine_mm = MakeAffine(dice.Grid(dice.Chance(0.5)));
    ModelGrid grid = MakeModelGrid(scan.view.affine_mm, scan.view.size, {2.0, 1.5, 1.8});
    if (round % 3 == 0) {  // the grid of another scan, at an angle to this one
      grid.affine_mm =
          MoveCentre(MakeAffine(dice.Grid(true)), grid.size, CentreOf(scan.view.affine_mm, scan.view.size));
    }
    if (*std::max_element(grid.size.begin(), grid.size.end()) > 60) continue;
    const Size3 window = dice.Size(1, 14);
    const std::vector<Size3> starts = WindowStarts(grid.size, window, dice.Real(0, 0.8));
    const IntensityRule rule = Rule(dice.Chance(0.5));
    WindowSampler sampler(scan.view, grid, window, starts, rule, Figures());
    std::vector<float> found(Count(window));
    for (const Size3& start : Ordered(grid, starts)) {
      if (starts.size() > 40 && dice.Chance(0.7)) continue;  // left out windows are fine
      const std::optional<float> constant = sampler.Window(start, found.data(), threads);
      const std::vector<float> expected = OwnWindow(scan.view, grid, start, window, rule, threads);
      EXPECT_LT(LargestDifference(found, expected), 1e-5);
      EXPECT_EQ(constant, ConstantValue(found.data(), Count(window)));
    }
  }
}

TEST(WindowSampler, SlicesMayBeLeftOut) {
  Dice dice(4);
  Threads threads(2);
  Scan<float> scan({10, 12, 200});
  scan.FillNoise(dice.random, -100, 100);
  for (const double angle : {0.0, 0.2}) {
    GridShape shape;
    shape.angles = {angle, 0, 0};
    const ModelGrid grid{MakeAffine(shape), {10, 12, 200}};
    const Size3 window{10, 12, 16};
    const std::vector<Size3> starts = WindowStarts(grid.size, window, 0.5);
    WindowSampler sampler(scan.view, grid, window, starts, Rule(false), Figures());
    std::vector<float> found(Count(window));
    for (const Index z : {8, 40, 48, 160, 184}) {
      sampler.Window({0, 0, z}, found.data(), threads);
      EXPECT_LT(LargestDifference(found, OwnWindow(scan.view, grid, {0, 0, z}, window, Rule(false), threads)), 1e-5);
    }
  }
}

TEST(WindowSampler, AirIsTheSameConstantInEveryWindow) {
  Threads threads(2);
  for (const double angle : {0.0, 0.3}) {
    Scan<float> scan({40, 30, 60}, {kFortranOrder, {}, 1});
    std::fill(scan.values.begin(), scan.values.end(), -20.0f);
    scan.At(20, 15, 50) = 500.0f;
    GridShape shape;
    shape.spacing = {1.3, 1.7, 0.9};
    shape.angles = {angle, 0, 0};
    const ModelGrid grid{MoveCentre(MakeAffine(shape), {30, 20, 64}, CentreOf(Identity(), {40, 30, 60})), {30, 20, 64}};
    const Size3 window{10, 24, 12};
    const std::vector<Size3> starts = Ordered(grid, WindowStarts(grid.size, window, 0.5));
    WindowSampler sampler(scan.view, grid, window, starts, Rule(true), Figures());
    float air = -20.0f;
    Normalise(&air, 1, Rule(true), Figures());
    std::vector<float> found(Count(window));
    int constant = 0;
    for (const Size3& start : starts) {
      if (const auto value = sampler.Window(start, found.data(), threads)) {
        EXPECT_EQ(*value, air);
        ++constant;
      }
    }
    EXPECT_GT(constant, 0);
    EXPECT_LT(constant, static_cast<int>(starts.size()));
  }
}

TEST(WindowSampler, DoesNotDependOnTheNumberOfThreads) {
  Dice dice(2);
  Threads one(1);
  Threads three(3);
  Scan<float> scan({70, 50, 40}, {kFortranOrder, {}, 1});
  scan.FillNoise(dice.random, -100, 100);
  for (const double angle : {0.0, 0.3}) {
    GridShape shape;
    shape.spacing = {1.1, 1.9, 0.6};
    shape.angles = {angle, 0, angle};
    const ModelGrid grid{MakeAffine(shape), {60, 25, 60}};
    const Size3 window{20, 20, 20};
    const std::vector<Size3> starts = Ordered(grid, WindowStarts(grid.size, window, 0.25));
    WindowSampler a(scan.view, grid, window, starts, Rule(false), Figures());
    WindowSampler b(scan.view, grid, window, starts, Rule(false), Figures());
    std::vector<float> first(Count(window)), second(Count(window));
    for (const Size3& start : starts) {
      a.Window(start, first.data(), one);
      b.Window(start, second.data(), three);
      EXPECT_EQ(first, second);
    }
  }
}

TEST(WindowSampler, BytesAreThoseThatAreHeld) {
  Dice dice(3);
  Scan<std::int16_t> scan({128, 96, 80}, {kFortranOrder, {}, 1});
  scan.FillNoise(dice.random, -100, 100);
  for (const double angle : {0.0, 0.3}) {
    for (const int count : {1, 3}) {
      for (const Size3& window : {Size3{24, 24, 24}, Size3{64, 90, 48}}) {
        GridShape shape;
        shape.spacing = {1.9, 1.9, 2.0};
        shape.angles = {angle, 0, 0};
        const ModelGrid grid{MakeAffine(shape), {66, 50, 40}};
        const std::vector<Size3> starts = Ordered(grid, WindowStarts(grid.size, window, 0.5));
        CountedMemory memory;
        Threads threads(count);
        {
          WindowSampler sampler(scan.view, grid, window, starts, Rule(true), Figures(), &memory);
          std::vector<float> out(Count(window));
          for (const Size3& start : starts) sampler.Window(start, out.data(), threads);
        }
        EXPECT_EQ(memory.held(), 0);
        const auto counted = static_cast<double>(memory.peak());
        const auto told = static_cast<double>(WindowSampler::Bytes(scan.view, grid, window, starts, count));
        EXPECT_NEAR(told, counted, 0.05 * counted);
      }
    }
  }
}

TEST(WindowSampler, StartsMustNotDecreaseNorLeaveTheGrid) {
  Threads threads(1);
  Scan<float> scan({10, 10, 40});
  const ModelGrid grid{Identity(), {10, 10, 40}};
  const Size3 window{8, 12, 8};
  const std::vector<Size3> starts = WindowStarts(grid.size, window, 0.5);
  WindowSampler sampler(scan.view, grid, window, starts, Rule(false), Figures());
  std::vector<float> out(Count(window));
  EXPECT_NO_THROW(sampler.Window({0, -1, 8}, out.data(), threads));
  EXPECT_NO_THROW(sampler.Window({2, -1, 8}, out.data(), threads));
  EXPECT_THROW(sampler.Window({0, -1, 4}, out.data(), threads), std::invalid_argument);
  EXPECT_THROW(sampler.Window({0, -2, 8}, out.data(), threads), std::invalid_argument);
  EXPECT_THROW(sampler.Window({0, 0, 8}, out.data(), threads), std::invalid_argument);
  EXPECT_THROW(sampler.Window({3, -1, 8}, out.data(), threads), std::invalid_argument);
  EXPECT_THROW(sampler.Window({0, -1, 33}, out.data(), threads), std::invalid_argument);
  EXPECT_NO_THROW(sampler.Window({0, -1, 32}, out.data(), threads));
  EXPECT_THROW(WindowSampler(scan.view, grid, window, {}, Rule(false), Figures()), std::invalid_argument);
}

}  // namespace
}  // namespace cmc::core
