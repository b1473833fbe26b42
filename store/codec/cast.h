// The encoding kCast: floats that are those of another chunk, their base, in another type.
// Nothing is kept but what they are made from.
//
// Threads: pure functions.
// Errors:  kCorrupt when the bytes are not what an encoder wrote, or the base has another size.
// Format:  docs/format/pack.md, "Casts".
#pragma once

#include <array>
#include <optional>

#include "store/base/bytes.h"
#include "store/base/result.h"
#include "store/chunk/chunk.h"
#include "store/codec/elements.h"

namespace varve {

inline constexpr size_t kCastBytes = 20;  // of a payload
using CastPayload = std::array<uint8_t, kCastBytes>;

// Whether one type is made from the other: F32 to BF16, rounded to nearest, ties to even, and
// BF16 to F32, exactly.
bool CanCast(ElementType from, ElementType to);

// Nothing unless every bit of `raw` is what `base` gives.
std::optional<CastPayload> EncodeCast(ByteView raw, ElementType elements, ByteView base,
                                      const ChunkId& base_id, ElementType base_elements);

// `base` is what BaseOf(payload) names (difference.h), and overlaps neither.
Status DecodeCast(ByteView payload, ByteView base, MutableBytes out);

}  // namespace varve
