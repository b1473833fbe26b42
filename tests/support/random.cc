#include "tests/support/random.h"

#include <limits>

#include "store/base/check.h"

namespace varve::testing {

// SplitMix64 (Steele, Lea, Flood 2014): every seed is a good one.
uint64_t Random::Next() {
  uint64_t z = (state_ += 0x9e3779b97f4a7c15);
  z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9;
  z = (z ^ (z >> 27)) * 0x94d049bb133111eb;
  return z ^ (z >> 31);
}

uint64_t Random::Below(uint64_t bound) {
  CHECK(bound > 0);
  // Values beyond the last whole multiple of `bound` would favour the small results.
  const uint64_t limit = std::numeric_limits<uint64_t>::max() / bound * bound;
  uint64_t value = Next();
  while (value >= limit) value = Next();
  return value % bound;
}

uint64_t Random::Between(uint64_t low, uint64_t high) {
  CHECK(low <= high);
  if (high - low == std::numeric_limits<uint64_t>::max()) return Next();
  return low + Below(high - low + 1);
}

std::string Random::Bytes(size_t size) {
  std::string bytes(size, '\0');
  for (size_t i = 0; i < size; i += sizeof(uint64_t)) {
    uint64_t word = Next();
    for (size_t j = i; j < size && j < i + sizeof(uint64_t); ++j) {
      bytes[j] = static_cast<char>(word & 0xff);
      word >>= 8;
    }
  }
  return bytes;
}

}  // namespace varve::testing
