// Live, captured and cloned trees, used at random, against a tree in memory: whatever is
// cloned from what, collected, killed or cut off, each shows what it has to.
//
// A million operations: `sim_tests --gtest_filter='TreeSim*' ` with VARVE_EFFORT=100.
#include <gtest/gtest.h>

#include "store/base/log.h"
#include "tests/support/seed.h"
#include "tests/support/tree_world.h"

namespace varve {
namespace {

using testing::Random;
using testing::TestRounds;
using testing::TestSeed;
using testing::TreeWorld;

TEST(TreeSimTest, EqualsAModel) {
  ASSERT_TRUE(InitLog({LogLevel::kError, false, "", false}).ok());
  const uint64_t seed = TestSeed();
  TreeWorld::Counters all;
  for (uint64_t round = 0; round < TestRounds(10) && !HasFailure(); ++round) {
    SCOPED_TRACE("round " + std::to_string(round));
    TreeWorld world(seed + round * 1000003);
    Random random(seed ^ round);
    for (int life = 0; life < 4 && !HasFailure(); ++life) {
      for (int step = 0; step < 250 && !HasFailure(); ++step) {
        world.Step();
      }
      if (HasFailure()) break;
      world.Check();
      if (HasFailure()) break;
      world.Restart(static_cast<TreeWorld::Ending>(random.Below(3)));
      if (!HasFailure()) world.Check();
    }
    all.steps += world.counters().steps;
    all.clones += world.counters().clones;
    all.clones_of_pins += world.counters().clones_of_pins;
    all.pins_seen += world.counters().pins_seen;
  }
  EXPECT_TRUE(InitLog(LogOptions()).ok());
  if (HasFailure()) return;
  EXPECT_GT(all.clones, 50u);
  EXPECT_GT(all.clones_of_pins, 5u);
  EXPECT_GT(all.pins_seen, 50u);
  RecordProperty("operations", std::to_string(all.steps));
}

}  // namespace
}  // namespace varve
