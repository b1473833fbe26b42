// Base journals and power cuts: whatever call the machine dies at, the packs give the
// index as of a commit, and not an earlier one than was promised.
#include <gtest/gtest.h>

#include <algorithm>

#include "tests/support/journal_world.h"
#include "tests/support/seed.h"

namespace varve {
namespace {

using testing::JournalWorld;
using testing::RebuildRows;
using testing::Rebuilt;
using testing::TestRounds;
using testing::TestSeed;

struct Seen {
  uint64_t bases = 0, unfinished = 0, removals = 0;
};

// False when the machine has died.
bool Step(JournalWorld& world, Seen* seen) {
  Status status;
  const uint64_t dice = world.random().Below(100);
  if (dice < 60) {
    status = world.Change();
  } else if (dice < 80) {
    status = world.Commit();
  } else if (dice < 92) {
    status = world.WriteBase().status();
  } else {
    status = world.RemoveOldPacks();
    if (status.ok()) ++seen->removals;
  }
  EXPECT_TRUE(status.ok() || world.disk().crashed()) << status.ToString();
  return !world.disk().crashed();
}

void CheckRebuild(JournalWorld& world, Seen* seen) {
  const Result<Rebuilt> rebuilt = RebuildRows(world.packs());
  if (!rebuilt.ok()) {
    ASSERT_TRUE(world.RowsAt(world.committed()).empty()) << rebuilt.status().ToString();
    return;
  }
  // A commit that only placed chunks has no journal.
  const uint64_t sequence = std::max(rebuilt->newest_sequence, world.committed());
  ASSERT_TRUE(rebuilt->rows == world.RowsAt(sequence));
  if (rebuilt->base_sequence) ++seen->bases;
  seen->unfinished += rebuilt->unfinished;
}

TEST(BaseJournalSim, PowerCuts) {
  Seen seen;
  const uint64_t seed = TestSeed();
  for (uint64_t round = 0; round < TestRounds(60); ++round) {
    SCOPED_TRACE("round " + std::to_string(round));
    JournalWorld world(seed + round * 1000003);
    for (int life = 0; life < 8; ++life) {
      ASSERT_TRUE(world.Open().ok());
      CheckRebuild(world, &seen);
      if (HasFailure()) return;
      world.disk().CrashAt(world.disk().change_count() + world.random().Below(80));
      while (Step(world, &seen) && !HasFailure()) {
      }
      world.PowerCut();
    }
    ASSERT_TRUE(world.Open().ok());
    CheckRebuild(world, &seen);
    if (HasFailure()) return;
  }
  EXPECT_GT(seen.bases, 0u);
  EXPECT_GT(seen.unfinished, 0u);
  EXPECT_GT(seen.removals, 0u);
}

}  // namespace
}  // namespace varve
