// Where a file is cut, and how its chunks are coded, by the tensors in it.
//
// Threads: free functions.
#pragma once

#include <vector>

#include "store/chunk/cutter.h"
#include "store/format/tensor_map.h"

namespace varve {

// A smaller tensor is not worth chunks of its own, and is cut with what surrounds it.
inline constexpr uint64_t kRegionBytesMin = 4096;

// Of tensors that share bytes the first one counts; the next takes what lies behind it.
std::vector<CutRegion> RegionsOf(const TensorMap& map);

}  // namespace varve
