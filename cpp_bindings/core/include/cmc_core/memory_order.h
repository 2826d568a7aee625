// In which order the axes of an array lie in memory.
#ifndef CMC_CORE_MEMORY_ORDER_H_
#define CMC_CORE_MEMORY_ORDER_H_

#include <array>
#include <utility>

#include "cmc_core/types.h"

namespace cmc::core {

// The axes from the fastest in memory to the slowest. Those of a single voxel have no place of their own: they come
// between, so that the fastest makes rows and the slowest makes slabs as long as possible.
inline std::array<int, 3> MemoryOrder(const Size3& size, const Size3& strides) {
  const auto later = [&](int a, int b) {
    if ((size[a] == 1) != (size[b] == 1)) return size[a] == 1;
    return (strides[a] < 0 ? -strides[a] : strides[a]) > (strides[b] < 0 ? -strides[b] : strides[b]);
  };
  std::array<int, 3> order{0, 1, 2};
  for (const int place : {0, 1, 0}) {
    if (later(order[place], order[place + 1])) std::swap(order[place], order[place + 1]);
  }
  if (size[order[2]] == 1) std::swap(order[1], order[2]);
  return order;
}

}  // namespace cmc::core

#endif  // CMC_CORE_MEMORY_ORDER_H_
