// The checksum of everything that VarveFS stores: 64-bit XXH3 without a seed.
//
// It finds torn writes and decayed bytes. It is not cryptographic and says
// nothing about who wrote the bytes.
//
// Threads: a pure function.
// Format:  little-endian wherever it is stored; 32-bit fields hold its low half.
#pragma once

#include <cstdint>

#include "store/base/bytes.h"

namespace varve {

uint64_t Checksum64(ByteView bytes);

}  // namespace varve
