// What a chunk's bytes are numbers of, as far as its encoding gains from knowing.
//
// Threads: values and pure functions.
// Format:  docs/format/pack.md, "Encodings"; little-endian.
#pragma once

#include <cstddef>
#include <cstdint>

namespace varve {

enum class DType : uint8_t;  // store/format/tensor_map.h

// Values are on disk; never reuse one.
enum class ElementType : uint8_t {
  kBytes = 0,  // anything else
  kF16 = 1,
  kBF16 = 2,
  kF32 = 3,
  kF64 = 4,
};
inline constexpr unsigned kElementTypes = 5;
inline constexpr unsigned kElementWidthMax = 8;

// Bytes of one element; 1 for kBytes.
constexpr unsigned WidthOf(ElementType elements) {
  switch (elements) {
    case ElementType::kF16:
    case ElementType::kBF16:
      return 2;
    case ElementType::kF32:
      return 4;
    case ElementType::kF64:
      return 8;
    case ElementType::kBytes:
      break;
  }
  return 1;
}

// Complex numbers are pairs of floats; integers, small floats and big-endian floats are bytes.
ElementType ElementsOf(DType dtype, bool big_endian);

}  // namespace varve
