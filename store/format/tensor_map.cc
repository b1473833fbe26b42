#include "store/format/tensor_map.h"

#include <iterator>

namespace varve {
namespace {

struct DTypeFacts {
  std::string_view name;
  unsigned bytes;
};

// In the order of the values.
constexpr DTypeFacts kDTypes[] = {
    {"OPAQUE", 0}, {"BOOL", 1}, {"U8", 1},  {"I8", 1},  {"U16", 2},     {"I16", 2},
    {"U32", 4},    {"I32", 4},  {"U64", 8}, {"I64", 8}, {"F8_E4M3", 1}, {"F8_E5M2", 1},
    {"F16", 2},    {"BF16", 2}, {"F32", 4}, {"F64", 8}, {"C64", 8},     {"C128", 16},
};
static_assert(std::size(kDTypes) == static_cast<size_t>(DType::kC128) + 1);

const DTypeFacts& FactsOf(DType dtype) {
  const auto index = static_cast<size_t>(dtype);
  return kDTypes[index < std::size(kDTypes) ? index : 0];
}

}  // namespace

unsigned ElementBytes(DType dtype) { return FactsOf(dtype).bytes; }

std::string_view DTypeName(DType dtype) { return FactsOf(dtype).name; }

Result<TensorMap> ReadTensorMap(ByteSource& source) {
  for (const auto read :
       {ReadSafetensorsMap, ReadNpyMap, ReadNpzMap, ReadDistcpMap, ReadTorchZipMap, ReadGgufMap}) {
    ASSIGN_OR_RETURN(std::optional<TensorMap> map, read(source));
    if (map) return *std::move(map);
  }
  return TensorMap();
}

}  // namespace varve
