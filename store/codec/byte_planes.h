// Floats as byte planes: the first bytes of all elements, then the second ones, …
//
// The sign is first moved behind the eight bits below it, so that it is the highest
// bit of the second plane and the exponent begins the first: of BF16 and F32 the first
// plane is exactly the exponent. The first two planes alone are so the float truncated
// to 16 bits: those of an F32 are a BF16.
//
// Threads: pure functions.
#pragma once

#include <array>

#include "store/base/bytes.h"
#include "store/codec/elements.h"
#include "store/codec/simd.h"

namespace varve {

// The most significant plane first.
using PlanePointers = std::array<uint8_t*, kElementWidthMax>;
using ConstPlanePointers = std::array<const uint8_t*, kElementWidthMax>;

// REQUIRES: width is 2, 4 or 8; raw.size() is a multiple of it; each of the first `width`
// planes has room for raw.size() / width bytes and overlaps nothing else.
void SplitPlanes(unsigned width, ByteView raw, const PlanePointers& planes, Simd simd = BestSimd());

// The inverse.
void MergePlanes(unsigned width, const ConstPlanePointers& planes, MutableBytes out,
                 Simd simd = BestSimd());

}  // namespace varve
