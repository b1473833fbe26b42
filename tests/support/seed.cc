#include "tests/support/seed.h"

#include <gtest/gtest.h>

#include <atomic>
#include <cinttypes>
#include <cstdio>
#include <cstdlib>
#include <limits>
#include <optional>
#include <random>

#include "store/base/check.h"

namespace varve::testing {
namespace {

std::optional<uint64_t> NumberFromEnvironment(const char* name) {
  const char* text = std::getenv(name);  // NOLINT(concurrency-mt-unsafe): nobody sets it
  if (text == nullptr || *text == '\0') return std::nullopt;
  return std::strtoull(text, nullptr, 0);
}

// Set by main() before any test runs, so a mutable global is the honest form.
std::atomic<bool> seed_given{false};
std::atomic<uint64_t> given_seed{0};

}  // namespace

void SetTestSeed(uint64_t seed) {
  given_seed = seed;
  seed_given = true;
}

uint64_t TestSeed() {
  uint64_t seed = 0;
  if (seed_given) {
    seed = given_seed;
  } else if (const auto number = NumberFromEnvironment("VARVE_SEED")) {
    seed = *number;
  } else {
    std::random_device device;
    seed = device();  // 32 bits: short enough to type
  }
  const auto* test = ::testing::UnitTest::GetInstance()->current_test_info();
  std::printf("seed %" PRIu64 "; replay with --gtest_filter=%s.%s --seed=%" PRIu64 "\n", seed,
              test == nullptr ? "?" : test->test_suite_name(), test == nullptr ? "?" : test->name(),
              seed);
  std::fflush(stdout);
  return seed;
}

uint64_t TestRounds(uint64_t rounds) {
  return rounds * NumberFromEnvironment("VARVE_EFFORT").value_or(1);
}

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
