// Random numbers that a failure can be replayed with.
//
//   Random random(TestSeed());
//
// TestSeed() prints the seed and how to get it again: `--seed=N` on the test
// program's command line, or VARVE_SEED=N in its environment.
//
// Threads: TestSeed() may be called concurrently.
#pragma once

#include <cstdint>

#include "tests/support/random.h"

namespace varve::testing {

// The seed of the running test: the given one, else a new one at each call.
uint64_t TestSeed();

// From now on TestSeed() returns `seed`. For main().
void SetTestSeed(uint64_t seed);

// How often to repeat something: `rounds`, times VARVE_EFFORT if that is set. Lets
// one environment variable turn the quick tests into long ones.
uint64_t TestRounds(uint64_t rounds);

}  // namespace varve::testing
