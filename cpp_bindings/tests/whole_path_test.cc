// From a scan to its labels with all parts together: the same bytes on every processor and for every number of threads.
#include <gtest/gtest.h>

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <vector>

#include "cmc_core/accumulator.h"
#include "cmc_core/geometry.h"
#include "cmc_core/intensity.h"
#include "cmc_core/sampling.h"
#include "cmc_core/windows.h"

namespace cmc::core {
namespace {

constexpr int kClasses = 6;
constexpr Size3 kWindow = {24, 20, 16};

// Small whole numbers from a linear congruential generator: the same everywhere.
std::vector<std::int16_t> MakeScan(const Size3& size) {
  std::vector<std::int16_t> voxels(static_cast<std::size_t>(Count(size)), -1000);
  std::uint32_t state = 1;
  for (Index x = 2; x < size[0] - 2; ++x) {
    for (Index y = 2; y < size[1] - 2; ++y) {
      for (Index z = 2; z < size[2] - 2; ++z) {
        state = state * 1664525U + 1013904223U;
        const int smooth = static_cast<int>((x * 7) % 90 + (y * 5) % 70 + (z * 11) % 120);
        voxels[static_cast<std::size_t>((x * size[1] + y) * size[2] + z)] =
            static_cast<std::int16_t>(smooth + static_cast<int>(state >> 27));
      }
    }
  }
  return voxels;
}

// Logits that depend on the value and on the place in the window; plain arithmetic.
void StandIn(const std::vector<float>& window, std::vector<float>* logits) {
  const std::size_t count = window.size();
  for (int c = 0; c < kClasses; ++c) {
    const float centre = -1.5F + 0.7F * static_cast<float>(c);
    for (std::size_t i = 0; i < count; ++i) {
      const float difference = window[i] - centre;
      (*logits)[static_cast<std::size_t>(c) * count + i] =
          0.001F * static_cast<float>((i * (static_cast<std::size_t>(c) + 3)) % 97) - difference * difference;
    }
  }
}

struct Found {
  std::vector<std::uint8_t> labels, confidence;
};

Found Label(const Matrix4& affine, int thread_count) {
  const Size3 size = {50, 44, 61};
  const std::vector<std::int16_t> voxels = MakeScan(size);
  VolumeView volume;
  volume.data = reinterpret_cast<const std::byte*>(voxels.data());
  volume.dtype = DType::kInt16;
  volume.size = size;
  volume.strides = {size[1] * size[2] * 2, size[2] * 2, 2};
  volume.affine_mm = affine;
  Threads threads(thread_count);
  const IntensityRule rule;
  const IntensityStatistics statistics = Statistics(volume, rule, threads);
  // The grid of a partner that lies straight, grown to cover the scan.
  const Matrix4 straight = {1.2, 0, 0, 0, 0, 1.2, 0, 0, 0, 0, 1.5, 0, 0, 0, 0, 1};
  const ModelGrid grid = ExtendGrid(MakeModelGrid(straight, size, {2.0, 2.0, 2.0}), affine, size);
  const std::vector<Size3> starts = WindowStarts(grid.size, kWindow, 0.5);
  Found found{std::vector<std::uint8_t>(voxels.size()), std::vector<std::uint8_t>(voxels.size())};
  const TargetView target{found.labels.data(), found.confidence.data(), size, {size[1] * size[2], size[2], 1}, affine};
  WindowSampler sampler(volume, grid, kWindow, starts, rule, statistics);
  Accumulator accumulator(grid, target, kClasses, kWindow, starts);
  std::vector<Size3> ordered = starts;
  const int axis = LongestAxis(grid.size);
  std::sort(ordered.begin(), ordered.end(),
            [axis](const Size3& a, const Size3& b) { return a[axis] != b[axis] ? a[axis] < b[axis] : a < b; });
  std::vector<float> window(static_cast<std::size_t>(Count(kWindow)));
  std::vector<float> logits(window.size() * kClasses);
  for (const Size3& start : ordered) {
    sampler.Window(start, window.data(), threads);
    StandIn(window, &logits);
    accumulator.Add(logits.data(), start, threads);
  }
  accumulator.Finish(threads);
  return found;
}

std::uint64_t Hash(const std::vector<std::uint8_t>& bytes) {
  std::uint64_t hash = 14695981039346656037ULL;  // FNV-1a
  for (const std::uint8_t byte : bytes) hash = (hash ^ byte) * 1099511628211ULL;
  return hash;
}

const Matrix4 kStraight = {-1.2, 0, 0, 55.0, 0, 1.2, 0, 1.0, 0, 0, 1.5, -2.0, 0, 0, 0, 1};
const Matrix4 kOblique = {1.1, -0.3, 0.2, 4.0, 0.35, 1.15, -0.1, -3.0, -0.15, 0.12, 1.4, 5.0, 0, 0, 0, 1};

// The hashes were taken on x86-64 with AVX2; other processors and compilers must give the same labels.
TEST(WholePath, TheSameLabelsOnEveryProcessor) {
  const Found straight = Label(kStraight, 1);
  const Found oblique = Label(kOblique, 1);
  EXPECT_EQ(Hash(straight.labels), 1800792236911708800ULL);
  EXPECT_EQ(Hash(oblique.labels), 6857499562687805915ULL);
  EXPECT_EQ(Hash(straight.confidence), 15333982638188447494ULL);
  EXPECT_EQ(Hash(oblique.confidence), 2152156721417055224ULL);
}

TEST(WholePath, TheSameBytesForEveryNumberOfThreads) {
  for (const Matrix4& affine : {kStraight, kOblique}) {
    const Found one = Label(affine, 1);
    for (const int count : {2, 4, 2, 4}) {
      const Found other = Label(affine, count);
      EXPECT_EQ(one.labels, other.labels);
      EXPECT_EQ(one.confidence, other.confidence);
    }
  }
}

TEST(WholePath, LabelsAreNotAllTheSame) {
  const Found found = Label(kOblique, 2);
  std::array<Index, kClasses> counts{};
  for (const std::uint8_t label : found.labels) ++counts[label];
  for (const Index count : counts) EXPECT_GT(count, 100);
}

}  // namespace
}  // namespace cmc::core
