#include "cmc_core/label_kernels.h"

#if defined(__AVX2__)
#define CMC_LANES 8
#define CMC_KERNELS kLabelKernelsAvx2
#include "label_kernels.inc"
#endif
