#include "tests/support/seed.h"

#include <gtest/gtest.h>

#include <atomic>
#include <cinttypes>
#include <cstdio>
#include <cstdlib>
#include <optional>
#include <random>

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

}  // namespace varve::testing
