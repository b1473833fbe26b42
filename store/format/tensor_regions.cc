#include "store/format/tensor_regions.h"

#include <algorithm>

namespace varve {

std::vector<CutRegion> RegionsOf(const TensorMap& map) {
  std::vector<CutRegion> regions;
  uint64_t end = 0;
  for (const Tensor& tensor : map.tensors) {
    const uint64_t begin = std::max(tensor.begin_bytes, end);
    if (tensor.end_bytes < begin + kRegionBytesMin) continue;
    regions.push_back({begin, tensor.end_bytes, ElementsOf(tensor.dtype, tensor.big_endian)});
    end = tensor.end_bytes;
  }
  return regions;
}

}  // namespace varve
