// The loops that blending and labelling spend their time in. They exist once for every processor and once for AVX2;
// both give the same bits, since no lane is ever added to another.
#ifndef CMC_CORE_LABEL_KERNELS_H_
#define CMC_CORE_LABEL_KERNELS_H_

#include "cmc_core/types.h"

namespace cmc::core {

inline constexpr int kRow = 32;    // voxels of an oblique grid that are labelled at once
inline constexpr int kChunk = 16;  // floats that a kernel may touch beyond a count: lengths of scratch are multiples

// Neighbours and their weights along the axis that is contiguous in memory, as arrays of a multiple of kChunk entries.
struct LaneTaps {
  const std::int32_t* lower = nullptr;
  const std::int32_t* upper = nullptr;
  const float* lower_weight = nullptr;
  const float* upper_weight = nullptr;
};

// An axis of an oblique grid's index map, in steps of 1e-6 model voxel: the position of lane i is lanes[i] + u + v,
// rounded to a whole step and brought into [0, limit].
struct MicroAxis {
  const double* lanes = nullptr;
  double u = 0.0;
  double v = 0.0;
  double limit = 0.0;
  std::int32_t last = 0;  // largest index that a lower neighbour may have
};

inline constexpr double kMicro = 1e6;
inline constexpr double kToWhole = 6755399441055744.0;  // 1.5 * 2^52: adding and taking it away rounds to whole numbers

// Logits of a box of model voxels, classes together: (X, Y, Z, padded classes).
struct ClassLastBox {
  const float* values = nullptr;
  std::int32_t first[3] = {};  // model voxel of its first voxel
  std::int32_t step[3] = {};   // floats from one voxel to the next
  std::int32_t upper[3] = {};  // the same, or 0 where the axis has no second voxel
  int padded = 0;              // a multiple of 8
};

struct LabelKernels {
  // sums[i][j] += values[i][j] * ((x_weight * y_weights[i]) * z_weights[j]).
  void (*add)(float* sums, Index sum_stride, const float* values, Index value_stride, float x_weight,
              const float* y_weights, const float* z_weights, Index rows, Index count);

  // Smallest and largest value of a box whose rows are contiguous; *low and *high take part in it. What lies `ahead`
  // floats further is fetched for the next call.
  void (*range)(const float* values, Index stride_x, Index stride_y, const Size3& size, Index ahead, float* low,
                float* high);

  // out[c][i] = lower_weight[i] * row[offsets[c] + lower[i]] + upper_weight[i] * row[offsets[c] + upper[i]]. Up to
  // kChunk floats after a neighbour may be read in vain.
  void (*sample)(const float* row, const Index* offsets, int classes, const LaneTaps& taps, Index count, float* out);

  // out[i] = a_weight * a[i] + b_weight * b[i].
  void (*blend)(const float* a, float a_weight, const float* b, float b_weight, Index count, float* out);

  // Labels and confidence of voxels with the logits a_weight * a[c][i] + b_weight * b[c][i], classes `stride` apart:
  // the id (increasing with c) of the largest, and floor(255 * its softmax + 0.5). A class whose logit lies more than
  // kNegligible below the largest counts as 0. `logits` is scratch for classes * kChunk floats; `count` is rounded up
  // to kChunk.
  void (*label)(const float* a, float a_weight, const float* b, float b_weight, Index stride, const float* ids,
                int classes, Index count, float* logits, std::uint8_t* labels, std::uint8_t* confidence);

  // out[i][c] = row[offsets[c] + i] for `padded` classes (a multiple of 4); `count` is rounded up to 4.
  void (*pack)(const float* row, const Index* offsets, int padded, Index count, float* out);

  // Lower neighbours, and the upper ones' weights.
  void (*place)(const MicroAxis& axis, Index count, std::int32_t* lower, float* fraction);

  // out[c][i], kRow lanes a class: trilinear interpolation at the first `count` of kRow places. `tile` is scratch for
  // kRow * box.padded floats.
  void (*interpolate)(const ClassLastBox& box, const std::int32_t (*lower)[kRow], const float (*fraction)[kRow],
                      int count, float* tile, float* out);
};

// 25 * ln 2: beyond it a term of the softmax's sum is less than half a unit in the last place of the sum.
inline constexpr float kNegligible = 17.328680F;

// The fastest that this processor runs, and those that every processor of its kind runs.
const LabelKernels& FindLabelKernels();
const LabelKernels& PlainLabelKernels();

}  // namespace cmc::core

#endif  // CMC_CORE_LABEL_KERNELS_H_
