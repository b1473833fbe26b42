// Floats as steps from a base: how far, in representable numbers, each element is from
// the base's element at its place.
//
// The bits of a float, made monotone in its value, are an integer; the step is the
// difference of two of them, modulo 2^32. A step of n significant bits is kept as a
// class and a tail: the class is n, usually plus the base's exponent (an update has
// about the same size wherever it goes, so n falls as the exponent grows); the tail is
// its sign and what follows its first bit, n bits together.
//
// Threads: pure functions.
#pragma once

#include <cstdint>

#include "store/base/bytes.h"
#include "store/codec/elements.h"
#include "store/codec/simd.h"

namespace varve {

// Values are on disk; never reuse one.
enum class StepClass : uint8_t {
  kBits = 0,      // n
  kExponent = 1,  // n plus the base's exponent, modulo 64
};
inline constexpr unsigned kStepClasses = 2;

// The class of elements that did not change; all others are below.
inline constexpr uint8_t kNoStep = 64;
// The most bits of a tail.
inline constexpr unsigned kTailBitsMax = 32;

// Whether elements have steps: those of at most 32 bits do.
constexpr bool HasSteps(ElementType elements) {
  return elements == ElementType::kF16 || elements == ElementType::kBF16 ||
         elements == ElementType::kF32;
}

// Room for the tails of `count` steps, and what is written behind them.
constexpr size_t TailsBound(size_t count) { return count * (kTailBitsMax / 8) + 16; }

// Writes classes[i] and appends the tails of all; returns the bytes of the tails.
// REQUIRES: raw and base are count elements each; classes has room for count bytes rounded
// up to 8, tails for TailsBound(count).
size_t TakeSteps(ElementType elements, StepClass by, ByteView raw, ByteView base, uint8_t* classes,
                 uint8_t* tails, Simd simd = BestSimd());

// The inverse. False when the tails are not of these classes. `out` may not overlap anything.
bool MakeSteps(ElementType elements, StepClass by, ByteView base, const uint8_t* classes,
               ByteView tails, MutableBytes out, Simd simd = BestSimd());

// As MakeSteps(), of those elements alone that changed: `out` is the base already, and
// classes[i] is of the element places[i].
bool PatchSteps(ElementType elements, StepClass by, const uint32_t* places, const uint8_t* classes,
                size_t changed, ByteView tails, MutableBytes out);

}  // namespace varve
