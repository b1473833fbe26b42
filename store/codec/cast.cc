#include "store/codec/cast.h"

#include <algorithm>
#include <cstring>

namespace varve {
namespace {

constexpr size_t kIdBytes = sizeof(ChunkId::bytes);

// What is compared at once.
constexpr size_t kRun = 1024;

void Round(const uint8_t* from, size_t count, uint8_t* to) {
  for (size_t i = 0; i < count; ++i) {
    uint32_t bits;
    std::memcpy(&bits, from + i * sizeof(bits), sizeof(bits));
    const auto high = static_cast<uint16_t>((bits + 0x7fff + (bits >> 16 & 1)) >> 16);
    std::memcpy(to + i * sizeof(high), &high, sizeof(high));
  }
}

void Widen(const uint8_t* from, size_t count, uint8_t* to) {
  for (size_t i = 0; i < count; ++i) {
    uint16_t high;
    std::memcpy(&high, from + i * sizeof(high), sizeof(high));
    const uint32_t bits = uint32_t{high} << 16;
    std::memcpy(to + i * sizeof(bits), &bits, sizeof(bits));
  }
}

void Cast(ElementType from, const uint8_t* base, size_t count, uint8_t* to) {
  from == ElementType::kF32 ? Round(base, count, to) : Widen(base, count, to);
}

// Of whole elements, as many in both.
bool SizesFit(ElementType from, size_t base_bytes, ElementType to, size_t bytes) {
  const size_t from_width = WidthOf(from), to_width = WidthOf(to);
  return bytes > 0 && bytes % to_width == 0 && base_bytes % from_width == 0 &&
         bytes / to_width == base_bytes / from_width;
}

}  // namespace

bool CanCast(ElementType from, ElementType to) {
  return (from == ElementType::kF32 && to == ElementType::kBF16) ||
         (from == ElementType::kBF16 && to == ElementType::kF32);
}

std::optional<CastPayload> EncodeCast(ByteView raw, ElementType elements, ByteView base,
                                      const ChunkId& base_id, ElementType base_elements) {
  if (!CanCast(base_elements, elements) ||
      !SizesFit(base_elements, base.size(), elements, raw.size()))
    return std::nullopt;
  const size_t width = WidthOf(elements), base_width = WidthOf(base_elements);
  const size_t count = raw.size() / width;
  std::array<uint8_t, kRun * sizeof(uint32_t)> made;
  for (size_t i = 0; i < count; i += kRun) {
    const size_t some = std::min(kRun, count - i);
    Cast(base_elements, base.data() + i * base_width, some, made.data());
    if (std::memcmp(made.data(), raw.data() + i * width, some * width) != 0) return std::nullopt;
  }
  CastPayload payload{};
  std::copy(base_id.bytes.begin(), base_id.bytes.end(), payload.begin());
  payload[kIdBytes] = static_cast<uint8_t>(base_elements);
  payload[kIdBytes + 1] = static_cast<uint8_t>(elements);
  return payload;
}

Status DecodeCast(ByteView payload, ByteView base, MutableBytes out) {
  if (payload.size() != kCastBytes) return Status(Code::kCorrupt, "cast of another length");
  const auto from = static_cast<ElementType>(payload[kIdBytes]);
  const auto to = static_cast<ElementType>(payload[kIdBytes + 1]);
  if (!CanCast(from, to) || payload[kIdBytes + 2] != 0 || payload[kIdBytes + 3] != 0)
    return Status(Code::kCorrupt, "cast of an unknown kind");
  if (!SizesFit(from, base.size(), to, out.size()))
    return Status(Code::kCorrupt, "cast of a base of another size");
  Cast(from, base.data(), out.size() / WidthOf(to), out.data());
  return {};
}

}  // namespace varve
