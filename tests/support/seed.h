// Random numbers that a failure can be replayed with.
//
//   Random random(TestSeed());
//
// TestSeed() prints the seed and how to get it again: `--seed=N` on the test
// program's command line, or VARVE_SEED=N in its environment.
//
// Threads: TestSeed() may be called concurrently; a Random belongs to one thread.
#pragma once

#include <cstdint>
#include <string>

namespace varve::testing {

// The seed of the running test: the given one, else a new one at each call.
uint64_t TestSeed();

// From now on TestSeed() returns `seed`. For main().
void SetTestSeed(uint64_t seed);

// How often to repeat something: `rounds`, times VARVE_EFFORT if that is set. Lets
// one environment variable turn the quick tests into long ones.
uint64_t TestRounds(uint64_t rounds);

// The same numbers for the same seed, everywhere.
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
