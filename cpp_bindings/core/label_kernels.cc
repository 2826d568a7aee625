#include "cmc_core/label_kernels.h"

#define CMC_LANES 4
#define CMC_KERNELS kLabelKernels
#include "label_kernels.inc"

namespace cmc::core {

#if defined(__x86_64__)
extern const LabelKernels kLabelKernelsAvx2;
#endif

const LabelKernels& FindLabelKernels() {
#if defined(__x86_64__)
  if (__builtin_cpu_supports("avx2")) return kLabelKernelsAvx2;
#endif
  return kLabelKernels;
}

const LabelKernels& PlainLabelKernels() { return kLabelKernels; }

}  // namespace cmc::core
