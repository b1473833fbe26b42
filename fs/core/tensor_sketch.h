// What tells cheaply whether two contents hold the same model, and how near it is.
//
// The *signature* stands for names, types and shapes, in any order and any format. The
// *sketch* is a sample of the numbers, taken at places that only names and shapes
// decide; so sketches of one signature can be compared.
//
// Threads: free functions.
#pragma once

#include <cstdint>
#include <vector>

#include "store/chunk/fingerprint.h"
#include "store/format/tensor_map.h"

namespace varve {

inline constexpr size_t kSketchSamples = 128;

// Never 0.
uint64_t SignatureOf(const TensorMap& map, const Fingerprinter& fingerprinter);
// The same of names and shapes alone: what is left of a signature in another type.
uint64_t ArchitectureOf(const TensorMap& map, const Fingerprinter& fingerprinter);

using Sketch = std::vector<uint32_t>;  // the high 32 bits of each number; empty: no floats

// Reads a few bytes of each of some tensors. `source` is the file that the map is of.
Result<Sketch> SketchOf(const TensorMap& map, ByteSource& source);

// A hash of the numbers, rounded to the nearest of 16 bits as BF16 has them: equal for a model
// and its export. Of both it says nothing more. 0 for an empty sketch.
uint64_t RoundedHash(const Sketch& sketch);

// Of the numbers: 16 or 32, which stands for 64 as well.
unsigned SketchWidthBits(const Sketch& sketch);

// How many bits of a number a difference between the two would have, on average.
// REQUIRES: both are of one signature.
double SketchDistance(const Sketch& a, const Sketch& b);

}  // namespace varve
