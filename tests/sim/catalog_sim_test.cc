// The catalog on a simulated disk: whatever fails and wherever it dies, the state
// is a prefix of what was applied, no shorter than what was promised.
//
// The model is the list of all batches. After every crash the catalog says how many
// of them it has (applied_sequence), and its rows must equal a replay of exactly
// those. The promises are tracked as two numbers: `promised_`, which no power cut
// may undo, and `known_`, which the death of the process may not undo either. The
// one batch whose Apply() failed without an answer may be there or not.
#include <gtest/gtest.h>

#include <algorithm>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "index/catalog.h"
#include "tests/support/memory_key_value_store.h"
#include "tests/support/seed.h"
#include "tests/support/sim_disk.h"

namespace varve {
namespace {

using testing::MemoryKeyValueStore;
using testing::Random;
using testing::SimDisk;
using testing::TestRounds;
using testing::TestSeed;

using Map = std::map<std::string, std::string>;

class CatalogWorld {
 public:
  explicit CatalogWorld(uint64_t seed) : random_(seed) {
    options_.log_bytes_max = uint64_t{4096} << random_.Between(3, 5);
    store_.SetWriteHook([this] { return JudgeWrite(); });
  }

  SimDisk& disk() { return disk_; }
  Random& random() { return random_; }
  bool is_open() const { return catalog_ != nullptr; }
  uint64_t replays() const { return replays_; }
  uint64_t lost() const { return lost_; }

  // Chances, of 1000, that a write to the store fails or is the machine's last act.
  void SetWriteFaults(uint64_t no_space, uint64_t io_error, uint64_t crash) {
    write_no_space_ = no_space;
    write_io_error_ = io_error;
    write_crash_ = crash;
  }

  // Opens and compares with the model. A failure is fine if the disk was told to fail.
  void Open() {
    Result<std::unique_ptr<Catalog>> opened = OpenCatalog(store_, disk_, "log", options_);
    if (!opened.ok()) {
      ASSERT_NE(opened.status().code(), Code::kCorrupt) << opened.status().ToString();
      // The first one of a store writes its mark.
      const bool full = opened.status().code() == Code::kNoSpace && write_no_space_ > 0;
      ASSERT_TRUE(full || MayFail()) << opened.status().ToString();
      return;
    }
    catalog_ = std::move(opened).value();
    const CatalogStats stats = catalog_->Stats();
    const uint64_t count = stats.applied_sequence;
    ASSERT_GE(count, power_was_cut_ ? promised_ : known_) << "acknowledged batches are lost";
    ASSERT_LE(count, batches_.size()) << "batches from nowhere";
    lost_ += batches_.size() - count;
    replays_ += stats.replayed_batches;
    batches_.resize(count);
    rows_ = Replay();
    known_ = count;
    promised_ = count;  // what was replayed is durable
    power_was_cut_ = false;
    ASSERT_EQ(stats.synced_sequence, count);
    Check();
  }

  void Check() {
    Map rows;
    const Status scanned = catalog_->Scan("", "", [&](auto key, auto value) {
      rows.emplace(key, value);
      return true;
    });
    ASSERT_TRUE(scanned.ok()) << scanned.ToString();
    ASSERT_EQ(rows, rows_);
  }

  Status Apply(const Batch& batch) {
    const Status applied = catalog_->Apply(batch);
    if (applied.code() == Code::kNoSpace || applied.code() == Code::kReadOnly) return applied;
    batches_.push_back(batch);  // if it failed: perhaps
    applied_bytes_ += 40;
    for (const Batch::Change& change : batch.changes())
      applied_bytes_ += 10 + (change.value ? change.value->size() : 0);
    if (!applied.ok()) return applied;
    known_ = batches_.size();
    for (const Batch::Change& change : batch.changes()) Change(change, &rows_);
    return applied;
  }
  Status SyncLog() {
    const Status synced = catalog_->SyncLog();
    if (synced.ok()) promised_ = known_;
    return synced;
  }
  Status Commit() {
    const bool fail_journal = random_.Chance(1, 20);
    const Status committed = catalog_->Commit([&](uint64_t sequence, const auto&) {
      // A journal may become durable at once, so no power cut may go back behind it.
      promised_ = std::max(promised_, sequence);
      return fail_journal ? Status(Code::kNoSpace) : Status();
    });
    if (committed.ok()) promised_ = known_;
    return committed;
  }
  bool Fenced() { return catalog_->Stats().fenced; }

  Batch RandomBatch() {
    Batch batch;
    for (uint64_t i = random_.Between(1, 4); i > 0; --i) {
      const std::string key = "k" + std::to_string(random_.Below(40));
      if (random_.Chance(1, 4)) {
        batch.Delete(key);
      } else {
        // Now and then larger than a sector and than a page; a few in a row look all the same.
        const uint64_t most = random_.Chance(1, 8) ? 5000 : 60;
        batch.Put(key, random_.Chance(1, 4) ? "same" : random_.Bytes(random_.Below(most)));
      }
    }
    return batch;
  }

  // Any operation. Returns false when the catalog can only be reopened.
  bool RandomStep() {
    Status outcome;
    const uint64_t dice = random_.Below(100);
    if (dice < 75) {
      // The only thread must not wait for itself.
      if (LogMayBeFull()) outcome = Commit();
      if (outcome.ok()) outcome = Apply(RandomBatch());
    } else if (dice < 85) {
      outcome = SyncLog();
    } else if (dice < 95) {
      outcome = Commit();
    } else {
      Check();
    }
    if (outcome.ok() || outcome.code() == Code::kNoSpace) return !disk_.crashed();
    EXPECT_TRUE(MayFail()) << outcome.ToString();
    EXPECT_TRUE(Fenced());
    return false;
  }

  void Close() { catalog_.reset(); }
  void Die(bool power_cut) {
    catalog_.reset();
    if (power_cut) {
      disk_.PowerCut(random_.Next());
      power_was_cut_ = true;
    } else {
      disk_.ProcessDeath();
    }
    store_failed_ = false;
  }
  void ExpectFaults() { faults_expected_ = true; }

 private:
  static constexpr uint64_t kBatchBytesMax = 4 * 5010 + 40;  // of RandomBatch()

  static void Change(const Batch::Change& change, Map* rows) {
    if (change.value) {
      (*rows)[change.key] = *change.value;
    } else {
      rows->erase(change.key);
    }
  }
  Map Replay() const {
    Map rows;
    for (const Batch& batch : batches_)
      for (const Batch::Change& change : batch.changes()) Change(change, &rows);
    return rows;
  }
  bool MayFail() const { return faults_expected_ || store_failed_ || disk_.crashed(); }

  // True unless one segment alone has room for another batch.
  bool LogMayBeFull() {
    const CatalogStats stats = catalog_->Stats();
    if (stats.committed_sequence == stats.applied_sequence) applied_bytes_ = 0;
    return applied_bytes_ + kBatchBytesMax > options_.log_bytes_max - 4096;
  }

  MemoryKeyValueStore::Verdict JudgeWrite() {
    if (disk_.crashed()) return {Status(Code::kIo), false};
    const uint64_t dice = random_.Below(1000);
    if (dice < write_no_space_) return {Status(Code::kNoSpace), false};
    if (dice < write_no_space_ + write_io_error_) {
      store_failed_ = true;
      return {Status(Code::kIo), random_.Chance(1, 2)};
    }
    if (dice < write_no_space_ + write_io_error_ + write_crash_) {
      disk_.CrashAt(disk_.change_count());
      store_failed_ = true;
      return {Status(Code::kIo), random_.Chance(1, 2)};
    }
    return {};
  }

  Random random_;
  SimDisk disk_;
  MemoryKeyValueStore store_;
  CatalogOptions options_;
  std::unique_ptr<Catalog> catalog_;

  std::vector<Batch> batches_;
  Map rows_;  // of all of them
  uint64_t known_ = 0;
  uint64_t promised_ = 0;
  bool power_was_cut_ = false;
  bool store_failed_ = false;
  bool faults_expected_ = false;
  uint64_t applied_bytes_ = 0;
  uint64_t write_no_space_ = 0, write_io_error_ = 0, write_crash_ = 0;
  uint64_t replays_ = 0, lost_ = 0;
};

// Lives of random length that end in every way, one after the other on one disk.
void RandomLives(uint64_t seed, int lives) {
  CatalogWorld world(seed);
  Random& random = world.random();
  world.SetWriteFaults(20, 5, 10);
  for (int life = 0; life < lives; ++life) {
    SCOPED_TRACE("life " + std::to_string(life));
    const bool crashes = random.Chance(2, 3);
    if (crashes) world.disk().CrashAt(world.disk().change_count() + random.Below(120));
    if (random.Chance(1, 4)) {
      world.ExpectFaults();
      const int error = random.Chance(1, 2) ? EIO : ENOSPC;
      world.disk().FailCall(world.disk().call_count() + random.Below(150), error);
    }
    world.Open();
    if (::testing::Test::HasFatalFailure()) return;
    if (world.is_open()) {
      const uint64_t steps = random.Below(200);
      for (uint64_t step = 0; step < steps && world.RandomStep(); ++step) {
        if (::testing::Test::HasFailure()) return;
      }
    }
    if (!world.disk().crashed() && random.Chance(1, 4)) {
      world.Close();  // in peace; nothing is lost
    } else {
      world.Die(random.Chance(1, 2));
    }
    if (::testing::Test::HasFailure()) return;
  }
  world.Die(false);
  world.SetWriteFaults(0, 0, 0);
  world.Open();
}

TEST(CatalogSimTest, RandomLives) {
  const uint64_t seed = TestSeed();
  for (uint64_t round = 0; round < TestRounds(150); ++round) {
    SCOPED_TRACE("round " + std::to_string(round));
    RandomLives(seed + round * 1000003, 20);
    if (HasFailure()) return;
  }
}

// A short, fixed life: everything that touches the disk happens in it.
void FixedLife(CatalogWorld& world) {
  world.Open();
  if (!world.is_open()) return;
  bool alive = true;
  const auto run = [&](const Status& outcome) {
    if (!outcome.ok() && outcome.code() != Code::kNoSpace) alive = false;
  };
  for (int i = 0; alive && i < 24; ++i) {
    Batch batch;
    batch.Put("k" + std::to_string(i % 7), std::string(static_cast<size_t>(i * 97), 'v'));
    if (i % 5 == 0) batch.Delete("k" + std::to_string(i % 3));
    run(world.Apply(batch));
    if (alive && i % 6 == 2) run(world.SyncLog());
    if (alive && i % 8 == 5) run(world.Commit());
  }
}

// Lives FixedLife() twice on one disk, the first time with a fault that `arm` sets
// up; then checks. Returns how many calls and changes a faultless first life makes.
struct Counts {
  uint64_t calls = 0;
  uint64_t changes = 0;
};
template <typename Arm>
Counts LiveWithFault(uint64_t seed, bool power_cut, const Arm& arm) {
  CatalogWorld world(seed);
  world.ExpectFaults();
  arm(world.disk());
  FixedLife(world);
  const Counts counts{world.disk().call_count(), world.disk().change_count()};
  world.Die(power_cut);
  FixedLife(world);
  world.Die(power_cut);
  world.Open();
  EXPECT_TRUE(world.is_open());
  return counts;
}

TEST(CatalogSimTest, EveryCallFailsOnce) {
  const uint64_t seed = TestSeed();
  const Counts counts = LiveWithFault(seed, false, [](SimDisk&) {});
  ASSERT_GT(counts.calls, 40u);
  for (const int error : {EIO, ENOSPC}) {
    for (uint64_t n = 0; n < counts.calls; ++n) {
      for (const bool power_cut : {false, true}) {
        SCOPED_TRACE("call " + std::to_string(n) + ", errno " + std::to_string(error));
        LiveWithFault(seed, power_cut, [&](SimDisk& disk) { disk.FailCall(n, error); });
        if (HasFailure()) return;
      }
    }
  }
}

TEST(CatalogSimTest, ACrashAtEveryChange) {
  const uint64_t seed = TestSeed();
  const Counts counts = LiveWithFault(seed, false, [](SimDisk&) {});
  ASSERT_GT(counts.changes, 30u);
  for (uint64_t n = 0; n < counts.changes; ++n) {
    for (uint64_t outcome = 0; outcome < TestRounds(20); ++outcome) {
      SCOPED_TRACE("change " + std::to_string(n) + ", outcome " + std::to_string(outcome));
      LiveWithFault(seed + outcome, outcome > 0, [&](SimDisk& disk) { disk.CrashAt(n); });
      if (HasFailure()) return;
    }
  }
}

// The promises are worth something only if the crashes hurt.
TEST(CatalogSimTest, PowerCutsDoLoseWhatWasNotSynced) {
  uint64_t lost = 0;
  uint64_t replayed = 0;
  const uint64_t seed = TestSeed();
  for (uint64_t round = 0; round < 20; ++round) {
    CatalogWorld world(seed + round);
    for (int life = 0; life < 3; ++life) {
      world.Open();
      for (int i = 0; i < 6; ++i) ASSERT_TRUE(world.Apply(world.RandomBatch()).ok());
      ASSERT_TRUE(world.SyncLog().ok());
      for (int i = 0; i < 3; ++i) ASSERT_TRUE(world.Apply(world.RandomBatch()).ok());
      world.Die(true);
      world.Open();
      while (world.Commit().code() == Code::kNoSpace) {
      }
    }
    lost += world.lost();
    replayed += world.replays();
  }
  EXPECT_GT(lost, 20u);
  EXPECT_GT(replayed, 20u * 3 * 6);
}

}  // namespace
}  // namespace varve
