#include <algorithm>

#include "store/base/bytes.h"
#include "store/format/map_builder.h"
#include "store/format/safetensors.h"
#include "store/format/tensor_map.h"

namespace varve {
namespace {

constexpr uint64_t kLengthBytes = 8;

static_assert(kSafetensorsAxesMax == kTensorAxesMax);

// Types that are newer than this list are opaque, and keep their name.
DType DTypeNamed(std::string_view name) {
  for (auto value = static_cast<uint8_t>(DType::kBool); value <= static_cast<uint8_t>(DType::kC128);
       ++value) {
    const auto dtype = static_cast<DType>(value);
    if (DTypeName(dtype) == name) return dtype;
  }
  return DType::kOpaque;
}

// Nothing when the entry says too little.
std::optional<Tensor> TensorOf(const SafetensorsEntry& entry, uint64_t data_begin) {
  Tensor tensor;
  if (entry.dtype.empty() || !entry.has_shape ||
      __builtin_add_overflow(data_begin, entry.begin, &tensor.begin_bytes) ||
      __builtin_add_overflow(data_begin, entry.end, &tensor.end_bytes))
    return std::nullopt;
  tensor.name = entry.name;
  tensor.dtype = DTypeNamed(entry.dtype);
  if (tensor.dtype == DType::kOpaque) tensor.type = entry.dtype;
  tensor.shape = entry.shape;
  return tensor;
}

}  // namespace

Result<std::optional<TensorMap>> ReadSafetensorsMap(ByteSource& source) {
  uint8_t length[kLengthBytes];
  ASSIGN_OR_RETURN(const size_t got, source.ReadAt(0, length));
  const uint64_t header_bytes = ByteReader(ByteView(length, got)).U64();
  const uint64_t data_begin =
      kLengthBytes + std::min(header_bytes, kSafetensorsHeaderBytesMax + kLengthBytes);

  MapBuilder builder(ContentFormat::kSafetensors, source.size_bytes());
  const auto add = [&](const SafetensorsEntry& entry) {
    std::optional<Tensor> tensor = TensorOf(entry, data_begin);
    if (!tensor) return builder.Fail("a tensor has no dtype or no shape");
    builder.Add(*std::move(tensor));
  };
  ASSIGN_OR_RETURN(const std::optional<Completeness> verdict, VisitSafetensors(source, add));
  if (!verdict) return std::optional<TensorMap>();
  // The verdict knows better what is wrong with a file that was cut off.
  if (!verdict->complete) {
    MapBuilder none(ContentFormat::kSafetensors, 0);
    none.Fail(verdict->reason);
    return std::optional<TensorMap>(none.Finish());
  }
  builder.FailUnlessTiled(data_begin);
  return std::optional<TensorMap>(builder.Finish());
}

}  // namespace varve
