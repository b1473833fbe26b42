// The same pseudorandom numbers for the same seed, on every machine.
//
// Threads: a Random belongs to one thread.
#pragma once

#include <cstdint>
#include <string>

namespace varve::testing {

class Random {
 public:
  explicit Random(uint64_t seed) : state_(seed) {}

  uint64_t Next();
  // Uniform in [0, bound). REQUIRES: bound > 0.
  uint64_t Below(uint64_t bound);
  // Uniform in [low, high].
  uint64_t Between(uint64_t low, uint64_t high);
  // True in `numerator` of `denominator` cases.
  bool Chance(uint64_t numerator, uint64_t denominator) { return Below(denominator) < numerator; }
  // Incompressible.
  std::string Bytes(size_t size);

 private:
  uint64_t state_;
};

}  // namespace varve::testing
