#include "store/codec/elements.h"

#include "store/format/tensor_map.h"

namespace varve {

ElementType ElementsOf(DType dtype, bool big_endian) {
  if (big_endian) return ElementType::kBytes;
  switch (dtype) {
    case DType::kF16:
      return ElementType::kF16;
    case DType::kBF16:
      return ElementType::kBF16;
    case DType::kF32:
    case DType::kC64:
      return ElementType::kF32;
    case DType::kF64:
    case DType::kC128:
      return ElementType::kF64;
    default:
      return ElementType::kBytes;
  }
}

}  // namespace varve
