// Where the tensors of a model file lie: what cutting, sharing, views, search and
// diff know of it.
//
// A tensor's bytes are those of `range` in the file it was found in, unchanged: a map
// never describes bytes that would have to be computed. Files that keep tensors in
// another file (an ONNX model with external data, the .metadata of a DCP directory)
// have a map of what lies in themselves.
//
// Threads: values; ReadTensorMap() is a free function, and may be called concurrently.
// Errors:  only those of the source, and kBusy when it was cancelled. A file that
//          cannot be understood is no error: it has no map, and `problem` says why.
// Memory:  at most 64 MiB above the map itself, whatever the bytes are; a map has at
//          most kTensorsMax tensors and kTensorTextBytesMax bytes of names.
// Units:   bytes; shapes in elements, outermost axis first.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "store/base/result.h"
#include "store/format/byte_source.h"
#include "store/format/completeness.h"

namespace varve {

// Values are on disk; never reuse one.
enum class DType : uint8_t {
  kOpaque = 0,  // blocks whose structure is the format's own: quantised types
  kBool = 1,
  kU8 = 2,
  kI8 = 3,
  kU16 = 4,
  kI16 = 5,
  kU32 = 6,
  kI32 = 7,
  kU64 = 8,
  kI64 = 9,
  kF8E4M3 = 10,
  kF8E5M2 = 11,
  kF16 = 12,
  kBF16 = 13,
  kF32 = 14,
  kF64 = 15,
  kC64 = 16,   // two kF32
  kC128 = 17,  // two kF64
};

// Bytes of one element; 0 for kOpaque.
unsigned ElementBytes(DType dtype);
// "F32", as safetensors spells it; "OPAQUE" for kOpaque.
std::string_view DTypeName(DType dtype);

inline constexpr size_t kTensorsMax = 1u << 20;
inline constexpr size_t kTensorTextBytesMax = 64u << 20;
inline constexpr size_t kTensorAxesMax = 64;

struct Tensor {
  std::string name;  // as the format has it; of nested dictionaries the keys, joined by '.'
  DType dtype = DType::kOpaque;
  bool big_endian = false;
  std::vector<uint64_t> shape;
  // In elements, one for each axis; empty: C order, without gaps. (Fortran order and torch's
  // views have them.)
  std::vector<uint64_t> strides;
  // In the file. Without strides its size is the product of the shape times ElementBytes();
  // with strides it is what the elements span. kOpaque: whatever the format says.
  uint64_t begin_bytes = 0;
  uint64_t end_bytes = 0;
  std::string type;  // of kOpaque: the format's name of it ("Q4_K"); else empty

  bool operator==(const Tensor&) const = default;
};

struct TensorMap {
  ContentFormat format = ContentFormat::kPlain;
  // In the order of the file: by begin, then end, then name. Ranges lie within the file; they
  // may overlap or be equal where tensors share storage. Tensors without bytes are listed.
  std::vector<Tensor> tensors;
  // A sentence on why there are none, or not all; empty for a plain file.
  std::string problem;
};

// Recognised by content. A plain file has a map of kPlain without tensors.
Result<TensorMap> ReadTensorMap(ByteSource& source);

// The formats one by one, each in a file of its own; nothing when it is another format.
Result<std::optional<TensorMap>> ReadSafetensorsMap(ByteSource& source);
Result<std::optional<TensorMap>> ReadNpyMap(ByteSource& source);
Result<std::optional<TensorMap>> ReadNpzMap(ByteSource& source);
Result<std::optional<TensorMap>> ReadDistcpMap(ByteSource& source);
Result<std::optional<TensorMap>> ReadTorchZipMap(ByteSource& source);
Result<std::optional<TensorMap>> ReadGgufMap(ByteSource& source);

}  // namespace varve
