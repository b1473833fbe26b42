// Writes zstd frames (RFC 8878) that are nothing but Huffman coded literals.
//
// What zstd's own encoder makes of bytes without repetitions, at twice its speed:
// nothing is looked up that would not be found. Any zstd decoder reads them.
//
// Threads: pure functions.
#pragma once

#include "store/base/bytes.h"

namespace varve {

// Values above it are not coded: of up to 128 values the code's description is a few bytes.
inline constexpr uint8_t kLiteralMax = 128;

// Room that WriteLiterals() needs.
size_t LiteralsBound(size_t bytes);

// The size of the frame written to the start of `out`; 0 when `bytes` are few, have a value
// above kLiteralMax, or would not become smaller: then zstd itself may do better.
// REQUIRES: out.size() >= LiteralsBound(bytes.size()).
size_t WriteLiterals(ByteView bytes, MutableBytes out);

}  // namespace varve
