#include "cmc_core/accumulator.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <map>
#include <memory_resource>
#include <random>
#include <stdexcept>
#include <vector>

#include "cmc_core/geometry.h"
#include "cmc_core/windows.h"
#include "cmc_tests/accumulator_reference.h"

namespace cmc::core {
namespace {

TEST(Accumulator, AlignedTargetsOfEveryOrderAndFlip) {
  std::mt19937 random(1);
  for (int round = 0; round < 192; ++round) {
    Problem problem = RandomProblem(random, /*oblique=*/false, /*order=*/round % 48);
    Expect(problem, Label(problem, 1 + round % 3, Layout(round % 4)));
    if (testing::Test::HasFailure()) FAIL() << "round " << round;
  }
}

TEST(Accumulator, ObliqueTargets) {
  std::mt19937 random(2);
  for (int round = 0; round < 192; ++round) {
    Problem problem = RandomProblem(random, /*oblique=*/true, /*order=*/round % 48);
    Expect(problem, Label(problem, 1 + round % 3, Layout(round % 4)));
    if (testing::Test::HasFailure()) FAIL() << "round " << round;
  }
}

// Grids of several blocks along every axis, with the ring along each of them, finer and coarser than the model grid.
TEST(Accumulator, TargetsOfManyBlocks) {
  std::mt19937 random(3);
  for (int round = 0; round < 24; ++round) {
    const int axis = round % 3;
    Problem problem;
    problem.classes = round % 4 == 3 ? 14 : 3;
    problem.grid.size = {9, 8, 10};
    problem.grid.size[axis] = 41;
    problem.grid.affine_mm = Affine(Identity(), {1.0, 1.0, 1.0});
    problem.window = {6, 6, 6};
    problem.window[axis] = 12;
    problem.overlap = 0.5;
    const double spacing = std::array<double, 4>{0.35, 0.6, 1.0, 2.3}[round / 6];
    problem.target_size = {};
    for (int t = 0; t < 3; ++t) {
      problem.target_size[t] = static_cast<Index>(static_cast<double>(problem.grid.size[t]) / spacing) + 3;
    }
    problem.target_affine =
        Affine(round / 3 % 2 == 0 ? Identity() : Rotation({0.2, -0.3, 0.1}), {spacing, spacing * 1.01, spacing * 0.99});
    Centre(&problem, {0.0, 0.0, 0.0});
    FillWindows(&problem, random, 2.0);
    const Result first = Label(problem, 2, Layout(round % 4));
    Expect(problem, first);
    if (testing::Test::HasFailure()) FAIL() << "round " << round;
  }
}

// Oblique grids so coarse that most of the model voxels between theirs are never looked at.
TEST(Accumulator, CoarseObliqueTargets) {
  std::mt19937 random(9);
  for (int axis = 0; axis < 3; ++axis) {
    Problem problem;
    problem.grid = {Affine(Identity(), {1.0, 1.0, 1.0}), {26, 27, 28}};
    problem.grid.size[axis] = 33;
    problem.window = {14, 14, 14};
    problem.target_size = {8, 9, 10};
    problem.target_affine = Affine(Rotation({0.2, -0.3, 0.1}), {4.1, 3.9, 4.0});
    Centre(&problem, {1.0, 2.0, 3.0});
    FillWindows(&problem, random, 2.0);
    Expect(problem, Label(problem, 2, Layout(axis)));
  }
}

TEST(Accumulator, BytesDependNeitherOnThreadsNorOnLayout) {
  std::mt19937 random(4);
  for (const bool oblique : {false, true}) {
    Problem problem = MediumProblem(oblique);
    FillWindows(&problem, random, 2.0);
    const Result first = Label(problem, 1, Layout::kC);
    for (const int threads : {1, 2, 4}) {
      for (const Layout layout : {Layout::kC, Layout::kFortran, Layout::kReversed, Layout::kSpread}) {
        const Result other = Label(problem, threads, layout);
        EXPECT_EQ(first.labels, other.labels);
        EXPECT_EQ(first.confidence, other.confidence);
        EXPECT_EQ(first.counts, other.counts);
        EXPECT_EQ(first.sums, other.sums);
      }
    }
  }
}

// Large regions of one class, where all the others fall away, beside places where several meet.
TEST(Accumulator, ConfidentLogits) {
  std::mt19937 random(5);
  for (const bool oblique : {false, true}) {
    Problem problem = MediumProblem(oblique);
    for (const Size3& start : problem.starts) {
      std::vector<float>& logits = problem.logits[start];
      logits.resize(problem.classes * Count(problem.window));
      Index i = 0;
      for (int c = 0; c < problem.classes; ++c) {
        for (Index x = 0; x < problem.window[0]; ++x) {
          for (Index y = 0; y < problem.window[1]; ++y) {
            for (Index z = 0; z < problem.window[2]; ++z) {
              const double distance =
                  std::hypot(static_cast<double>(start[0] + x) - 8.0 * c, static_cast<double>(start[1] + y) - 9.0,
                             static_cast<double>(start[2] + z) - 3.0 * c);
              const double noise = 0.2 * std::generate_canonical<double, 32>(random);
              logits[i++] = static_cast<float>((c == 0 ? 8.0 : 30.0 - 5.0 * distance) + noise);
            }
          }
        }
      }
    }
    Expect(problem, Label(problem, 2, Layout::kFortran));
  }
}

TEST(Accumulator, TheOwnGridIsLabelledWithoutInterpolation) {
  Problem problem;
  problem.classes = 4;
  problem.grid = {Affine(Identity(), {2.0, 2.0, 2.0}), {6, 5, 9}};
  problem.window = problem.grid.size;
  problem.target_affine = problem.grid.affine_mm;
  problem.target_size = problem.grid.size;
  std::mt19937 random(6);
  FillWindows(&problem, random, 1.0);
  const std::vector<float>& logits = problem.logits.begin()->second;
  const Result result = Label(problem, 1, Layout::kC);
  const Index voxels = Count(problem.grid.size);
  for (Index i = 0; i < voxels; ++i) {
    int best = 0;
    for (int c = 1; c < 4; ++c) best = logits[c * voxels + i] > logits[best * voxels + i] ? c : best;
    EXPECT_EQ(result.labels[i], best);
  }
}

TEST(Accumulator, TiesGoToTheLowestClassAndConfidenceIsTheSoftmax) {
  Problem problem;
  problem.classes = 3;
  problem.grid = {Affine(Identity(), {1.0, 1.0, 1.0}), {1, 1, 4}};
  problem.window = problem.grid.size;
  problem.target_affine = problem.grid.affine_mm;
  problem.target_size = problem.grid.size;
  problem.starts = {{0, 0, 0}};
  problem.logits[{0, 0, 0}] = {1, 0, -3, 200, 1, 2, -3, -200, 0, 2, -3, 0};
  const Result result = Label(problem, 1, Layout::kC);
  EXPECT_EQ(result.labels, (std::vector<std::uint8_t>{0, 1, 0, 0}));
  const double expected[] = {1.0 / (2.0 + std::exp(-1.0)), 1.0 / (2.0 + std::exp(-2.0)), 1.0 / 3.0, 1.0};
  double sums[3] = {};
  for (int i = 0; i < 4; ++i) {
    EXPECT_EQ(result.confidence[i], std::floor(255.0 * expected[i] + 0.5));
    sums[result.labels[i]] += result.confidence[i] / 255.0;
  }
  EXPECT_EQ(result.counts, (std::vector<std::int64_t>{3, 1, 0}));
  for (int c = 0; c < 3; ++c) EXPECT_NEAR(result.sums[c], sums[c], 1e-12);
}

TEST(Accumulator, ManyClassesFitInAByte) {
  Problem problem;
  problem.classes = 256;
  problem.grid = {Affine(Identity(), {1.0, 1.0, 1.0}), {1, 1, 3}};
  problem.window = problem.grid.size;
  problem.target_affine = problem.grid.affine_mm;
  problem.target_size = problem.grid.size;
  problem.starts = {{0, 0, 0}};
  std::vector<float>& logits = problem.logits[{0, 0, 0}];
  logits.assign(256 * 3, 0.0F);
  logits[255 * 3] = logits[128 * 3 + 1] = logits[2] = 1.0F;
  EXPECT_EQ(Label(problem, 1, Layout::kC).labels, (std::vector<std::uint8_t>{255, 128, 0}));
}

// Windows that are never added count as logits of 0, and what is labelled meanwhile does not read beyond the ring.
TEST(Accumulator, WindowsMayBeLeftOut) {
  for (const bool oblique : {false, true}) {
    Problem problem = MediumProblem(oblique);
    std::mt19937 random(7);
    FillWindows(&problem, random, 2.0);
    const int axis = LongestAxis(problem.grid.size);
    Problem all = problem;
    for (auto& [start, logits] : all.logits) {
      if (start[axis] > 0 && start[axis] < problem.grid.size[axis] - problem.window[axis]) {
        std::fill(logits.begin(), logits.end(), 0.0F);
        problem.logits.erase(start);
      }
    }
    EXPECT_EQ(Label(problem, 2, Layout::kC).labels, Label(all, 2, Layout::kC).labels);
    problem.logits.clear();
    const Result none = Label(problem, 2, Layout::kC);
    EXPECT_EQ(none.counts[0], Count(problem.target_size));
    EXPECT_EQ(none.confidence, std::vector<std::uint8_t>(none.confidence.size(), 85));  // a third
  }
}

TEST(Accumulator, BytesAreThoseThatItTakes) {
  for (const bool oblique : {false, true}) {
    for (const int classes : {2, 14}) {
      for (const int threads : {1, 3}) {
        Problem problem = MediumProblem(oblique);
        problem.classes = classes;
        std::mt19937 random(8);
        FillWindows(&problem, random, 2.0);
        CountingMemory memory;
        Label(problem, threads, Layout::kFortran, &memory);
        EXPECT_EQ(memory.held, 0);
        TargetView target;
        target.size = problem.target_size;
        target.strides = {1, target.size[0], target.size[0] * target.size[1]};
        target.affine_mm = problem.target_affine;
        const Index bytes = Accumulator::Bytes(problem.grid, target, classes, problem.window, problem.starts, threads);
        EXPECT_NEAR(static_cast<double>(memory.peak), static_cast<double>(bytes), 0.05 * static_cast<double>(bytes));
      }
    }
  }
}

TEST(Accumulator, RefusesWhatItCannotDo) {
  const ModelGrid grid = {Affine(Identity(), {1.0, 1.0, 1.0}), {4, 4, 20}};
  std::vector<std::uint8_t> labels(320), confidence(320);
  const TargetView target = {labels.data(), confidence.data(), grid.size, {80, 20, 1}, grid.affine_mm};
  const std::vector<Size3> starts = WindowStarts(grid.size, {4, 4, 4}, 0.5);
  const auto make = [&](const ModelGrid& g, const TargetView& t, int classes, const Size3& window,
                        const std::vector<Size3>& planned) { Accumulator made(g, t, classes, window, planned); };
  EXPECT_THROW(make(grid, target, 1, {4, 4, 4}, starts), std::invalid_argument);
  EXPECT_THROW(make(grid, target, 257, {4, 4, 4}, starts), std::invalid_argument);
  EXPECT_THROW(make(grid, target, 2, {4, 0, 4}, starts), std::invalid_argument);
  EXPECT_THROW(make(grid, target, 2, {4, 4, 4}, {}), std::invalid_argument);
  EXPECT_THROW(make({grid.affine_mm, {4, 0, 20}}, target, 2, {4, 4, 4}, starts), std::invalid_argument);
  EXPECT_THROW(make({Matrix4{}, grid.size}, target, 2, {4, 4, 4}, starts), std::invalid_argument);
  TargetView empty = target;
  empty.size[2] = 0;
  EXPECT_THROW(make(grid, empty, 2, {4, 4, 4}, starts), std::invalid_argument);

  Threads threads(1);
  const std::vector<float> logits(2 * 64, 0.0F);
  Accumulator accumulator(grid, target, 2, {4, 4, 4}, starts);
  EXPECT_THROW(accumulator.Add(logits.data(), {0, 0, 1}, threads), std::invalid_argument);
  EXPECT_THROW(accumulator.Add(logits.data(), {1, 0, 0}, threads), std::invalid_argument);
  accumulator.Add(logits.data(), {0, 0, 0}, threads);
  accumulator.Add(logits.data(), {0, 0, 2}, threads);
  EXPECT_THROW(accumulator.Add(logits.data(), {0, 0, 0}, threads), std::invalid_argument);
  EXPECT_GE(accumulator.label_seconds(), 0.0);
  accumulator.Finish(threads);
  accumulator.Finish(threads);
  EXPECT_EQ(accumulator.counts()[0], 320);
  EXPECT_GT(accumulator.label_seconds(), 0.0);
  EXPECT_THROW(accumulator.Add(logits.data(), {0, 0, 16}, threads), std::invalid_argument);
}

}  // namespace
}  // namespace cmc::core
