// Counting the connected pieces of a label.
#ifndef CMC_CORE_COMPONENTS_H_
#define CMC_CORE_COMPONENTS_H_

#include <cstdint>
#include <memory_resource>
#include <vector>

#include "cmc_core/types.h"

namespace cmc::core {

// Number of 6-connected pieces of each class 0 ... num_classes - 1 in a label grid, in one pass over runs along the
// axis that is fastest in memory (class 0 is not counted: 0). Labels >= num_classes throw std::invalid_argument.
std::vector<Index> CountComponents(const std::uint8_t* labels, const Size3& size, const Size3& strides, int num_classes,
                                   std::pmr::memory_resource* memory = std::pmr::get_default_resource());

}  // namespace cmc::core

#endif  // CMC_CORE_COMPONENTS_H_
