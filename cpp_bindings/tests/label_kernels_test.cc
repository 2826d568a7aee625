#include "cmc_core/label_kernels.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <random>
#include <vector>

namespace cmc::core {
namespace {

struct Labelled {
  std::vector<std::uint8_t> labels, confidence;
};

Labelled Label(const LabelKernels& kernels, const std::vector<float>& logits, int classes) {
  const auto stride = static_cast<Index>(logits.size()) / classes;
  std::vector<float> ids(classes), scratch(classes * kChunk);
  for (int c = 0; c < classes; ++c) ids[c] = static_cast<float>(c);
  Labelled out{std::vector<std::uint8_t>(stride), std::vector<std::uint8_t>(stride)};
  kernels.label(logits.data(), 1.0F, logits.data(), 0.0F, stride, ids.data(), classes, stride, scratch.data(),
                out.labels.data(), out.confidence.data());
  return out;
}

TEST(LabelKernels, ConfidenceIsThatOfTheStandardLibrarysExponential) {
  // Two classes d apart: 255 / (1 + exp(-d)), for d across all that counts.
  constexpr Index kCount = 1 << 16;
  std::vector<float> logits(2 * kCount, 0.0F);
  for (Index i = 0; i < kCount; ++i) logits[kCount + i] = -40.0F * static_cast<float>(i) / kCount;
  const Labelled found = Label(FindLabelKernels(), logits, 2);
  Index unlike = 0;
  for (Index i = 0; i < kCount; ++i) {
    EXPECT_EQ(found.labels[i], 0);
    const double exact = 255.0 / (1.0 + std::exp(static_cast<double>(logits[kCount + i]))) + 0.5;
    const bool near = std::fabs(exact - std::nearbyint(exact)) < 1e-4;
    unlike += !near && found.confidence[i] != std::floor(exact);
  }
  EXPECT_EQ(unlike, 0);
}

TEST(LabelKernels, LogitsOfAnySizeStayFinite) {
  const float huge = 3e38F;
  std::vector<float> logits(3 * kChunk, 0.0F);
  logits[0] = huge;  // against 0 and -huge: their difference is beyond FP32
  logits[2 * kChunk] = -huge;
  logits[kChunk + 1] = logits[1] = -huge;
  logits[2 * kChunk + 1] = -1e30F;
  const Labelled found = Label(FindLabelKernels(), logits, 3);
  EXPECT_EQ(found.labels[0], 0);
  EXPECT_EQ(found.confidence[0], 255);
  EXPECT_EQ(found.labels[1], 2);
  EXPECT_EQ(found.confidence[1], 255);
  EXPECT_EQ(found.labels[2], 0);
  EXPECT_EQ(found.confidence[2], 85);
}

// The two instruction sets give the same bits, kernel by kernel.
class BothSets : public testing::Test {
 protected:
  std::vector<float> Random(Index count, float scale) {
    std::normal_distribution<float> normal(0.0F, scale);
    std::vector<float> out(count);
    for (float& value : out) value = normal(random_);
    return out;
  }

  std::mt19937 random_{1};
  const LabelKernels* const sets_[2] = {&PlainLabelKernels(), &FindLabelKernels()};
};

TEST_F(BothSets, Add) {
  const std::vector<float> values = Random(7 * 50, 3.0F), y = Random(7, 1.0F), z = Random(43, 1.0F);
  const std::vector<float> before = Random(7 * 60, 3.0F);
  std::vector<float> sums[2] = {before, before};
  for (int s = 0; s < 2; ++s) sets_[s]->add(sums[s].data(), 60, values.data(), 50, 0.7F, y.data(), z.data(), 7, 43);
  EXPECT_EQ(sums[0], sums[1]);
  for (Index i = 0; i < 7 * 60; ++i) {
    const Index row = i / 60, column = i % 60;
    EXPECT_EQ(sums[0][i],
              column < 43 ? before[i] + values[row * 50 + column] * ((0.7F * y[row]) * z[column]) : before[i]);
  }
}

TEST_F(BothSets, Range) {
  const std::vector<float> values = Random(1000, 3.0F);
  for (const Index count : {1, 2, 3, 5, 8, 9, 19, 33}) {
    float expected[2] = {values[0], values[0]};
    for (Index x = 0; x < 3; ++x) {
      for (Index y = 0; y < 4; ++y) {
        for (Index z = 0; z < count; ++z) {
          expected[0] = std::min(expected[0], values[x * 200 + y * 40 + z]);
          expected[1] = std::max(expected[1], values[x * 200 + y * 40 + z]);
        }
      }
    }
    for (const LabelKernels* kernels : sets_) {
      float low = values[0], high = values[0];
      kernels->range(values.data(), 200, 40, {3, 4, count}, 0, &low, &high);
      EXPECT_EQ(low, expected[0]);
      EXPECT_EQ(high, expected[1]);
    }
  }
}

TEST_F(BothSets, SampleAndBlend) {
  const std::vector<float> values = Random(2000, 3.0F), weights = Random(64, 1.0F);
  std::vector<std::int32_t> lower(32), upper(32);
  for (int i = 0; i < 32; ++i) {
    lower[i] = static_cast<std::int32_t>(random_() % 200);
    upper[i] = static_cast<std::int32_t>(random_() % 200);
  }
  const Index offsets[3] = {0, 900, 400};
  const LaneTaps taps = {lower.data(), upper.data(), weights.data(), weights.data() + 32};
  std::vector<float> out[2], blended[2];
  for (int s = 0; s < 2; ++s) {
    out[s].resize(96);
    blended[s].resize(96);
    sets_[s]->sample(values.data() + 7, offsets, 3, taps, 32, out[s].data());
    sets_[s]->blend(out[s].data(), 0.3F, values.data(), 0.7F, 96, blended[s].data());
  }
  EXPECT_EQ(out[0], out[1]);
  EXPECT_EQ(blended[0], blended[1]);
  for (int i = 0; i < 96; ++i) {
    const float* row = values.data() + 7 + offsets[i / 32];
    const int lane = i % 32;
    EXPECT_EQ(out[0][i], weights[lane] * row[lower[lane]] + weights[32 + lane] * row[upper[lane]]);
    EXPECT_EQ(blended[0][i], 0.3F * out[0][i] + 0.7F * values[i]);
  }
}

TEST_F(BothSets, Label) {
  for (const int classes : {2, 3, 14, 33, 255}) {
    const std::vector<float> logits = Random(classes * Index{1024}, 4.0F);
    const Labelled plain = Label(*sets_[0], logits, classes), fast = Label(*sets_[1], logits, classes);
    EXPECT_EQ(plain.labels, fast.labels);
    EXPECT_EQ(plain.confidence, fast.confidence);
  }
}

TEST_F(BothSets, PlaceAndInterpolate) {
  constexpr int kSide = 6, kPadded = 16;
  Index offsets[kPadded];
  for (int c = 0; c < kPadded; ++c) offsets[c] = std::min(c, 10) * Index{300};  // the last fills up
  const std::vector<float> values = Random(3400, 3.0F);
  std::vector<double> lanes(kRow);
  for (int i = 0; i < kRow; ++i) lanes[i] = 187500.25 * i - 300000.0;  // from before the first voxel to beyond the last
  const MicroAxis axis = {lanes.data(), 1000.0, 0.5, (kSide - 1) * kMicro, kSide - 2};
  std::vector<float> out[2];
  for (int s = 0; s < 2; ++s) {
    std::vector<float> packed((kSide * kSide * kSide + 4) * kPadded), tile(kRow * kPadded);
    for (int row = 0; row < kSide * kSide; ++row) {
      sets_[s]->pack(values.data() + row * kSide, offsets, kPadded, kSide, packed.data() + row * kSide * kPadded);
    }
    std::int32_t lower[3][kRow];
    float fraction[3][kRow];
    for (int a = 0; a < 3; ++a) sets_[s]->place(axis, kRow, lower[a], fraction[a]);
    for (int i = 0; i < kRow; ++i) {
      const double position = std::min(std::max(std::nearbyint(lanes[i] + 1000.5) / 1e6, 0.0), kSide - 1.0);
      EXPECT_EQ(lower[0][i], std::min(static_cast<int>(position), kSide - 2));
      EXPECT_NEAR(fraction[0][i], position - lower[0][i], 1e-7);
    }
    ClassLastBox box;
    box.values = packed.data();
    box.padded = kPadded;
    for (int a = 0; a < 3; ++a) {
      box.step[a] = box.upper[a] = kPadded * (a == 0 ? kSide * kSide : a == 1 ? kSide : 1);
    }
    out[s].resize(kPadded * kRow);
    sets_[s]->interpolate(box, lower, fraction, kRow, tile.data(), out[s].data());
    for (int c = 0; c < kPadded; ++c) {
      for (int i = 0; i < kRow; ++i) {
        // Along the diagonal, the three fractions being equal.
        double expected = 0.0;
        for (int corner = 0; corner < 8; ++corner) {
          double weight = 1.0;
          Index place = offsets[c];
          for (int a = 0; a < 3; ++a) {
            const int up = corner >> a & 1;
            weight *= up != 0 ? fraction[a][i] : 1.0 - fraction[a][i];
            place += (lower[a][i] + up) * (a == 0 ? kSide * kSide : a == 1 ? kSide : 1);
          }
          expected += weight * values[place];
        }
        EXPECT_NEAR(out[s][c * kRow + i], expected, 1e-5);
      }
    }
  }
  EXPECT_EQ(out[0], out[1]);
}

}  // namespace
}  // namespace cmc::core
