// The pack store on a simulated disk: what Sync() promised survives any crash at
// any call, and every failing call leaves a store that is as good as its errors say.
//
// The model is the list of all chunks and journals, and how many of them a Sync()
// covered. A store that was fenced is reopened; one that had no space goes on.
#include <gtest/gtest.h>

#include <algorithm>
#include <map>
#include <memory>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "store/pack/pack_store.h"
#include "tests/support/seed.h"
#include "tests/support/sim_disk.h"

namespace varve {
namespace {

using testing::Random;
using testing::SimDisk;
using testing::TestRounds;
using testing::TestSeed;

struct Kept {
  ChunkId id;
  ChunkLocation location;
  std::string bytes;
};

class PackWorld {
 public:
  explicit PackWorld(uint64_t seed) : random_(seed) {
    options_.pack_bytes_target = static_cast<uint32_t>(random_.Between(20'000, 400'000));
  }

  SimDisk& disk() { return disk_; }
  Random& random() { return random_; }
  bool is_open() const { return store_ != nullptr; }
  size_t chunks() const { return chunks_.size(); }
  void ExpectFaults() { faults_expected_ = true; }

  void Open() {
    auto opened = OpenPackStore(disk_, "packs", fingerprinter_, options_);
    if (!opened.ok()) {
      ASSERT_TRUE(MayFail()) << opened.status().ToString();
      return;
    }
    store_ = std::move(opened).value();
    flush_failed_ = false;
  }

  Status Append() {
    const uint64_t most = random_.Chance(1, 10) ? 150'000 : 6'000;
    std::string bytes = random_.Chance(1, 2) ? random_.Bytes(1 + random_.Below(most))
                                             : std::string(1 + random_.Below(most), 'c');
    bytes += std::to_string(made_++);
    const ChunkId id = fingerprinter_.Name(AsBytes(bytes));
    const auto location = store_->Append(id, encoder_.Encode(AsBytes(bytes)), RoomFor::kContent);
    if (!location.ok()) return location.status();
    chunks_.push_back({id, *location, std::move(bytes)});
    return {};
  }

  Status AppendJournal() {
    const std::string record = random_.Bytes(random_.Below(20'000));
    RETURN_IF_ERROR(store_->AppendJournal(++sequence_, AsBytes(record), RoomFor::kUpkeep));
    journals_[sequence_] = record;
    return {};
  }

  Status Sync() {
    RETURN_IF_ERROR(store_->Sync());
    durable_chunks_ = chunks_.size();
    durable_sequence_ = journals_.empty() ? 0 : journals_.rbegin()->first;
    return {};
  }

  // As a collector does: of a sealed pack some chunks are moved, the others and the
  // journals are not wanted any more, and it is removed.
  Status Collect() {
    RETURN_IF_ERROR(Sync());
    std::vector<uint32_t> sealed;
    for (const PackInfo& info : store_->Infos())
      if (!info.writing) sealed.push_back(info.pack);
    if (sealed.empty()) return {};
    const uint32_t pack = sealed[random_.Below(sealed.size())];
    const Result<std::vector<JournalInfo>> journals = store_->JournalsOf(pack);
    if (!journals.ok()) return NotFenced(journals.status());
    std::vector<ChunkMove> moves;
    std::erase_if(chunks_, [&](const Kept& chunk) {
      if (chunk.location.pack != pack) return false;
      if (random_.Chance(1, 3)) return true;
      moves.push_back({chunk.id, chunk.location, {}, {}});
      return false;
    });
    durable_chunks_ = chunks_.size();
    for (const JournalInfo& info : *journals) journals_.erase(info.label.sequence);
    if (const Status moved = store_->Move(moves); !moved.ok()) return NotFenced(moved);
    RETURN_IF_ERROR(Sync());
    for (size_t i = 0, next = 0; i < chunks_.size(); ++i)
      if (chunks_[i].location.pack == pack) chunks_[i].location = moves[next++].to;
    const Status removed = store_->Remove(pack);
    return removed.ok() ? removed : NotFenced(removed);
  }

  // All chunks are readable, in random batches.
  void CheckReads() {
    std::vector<const Kept*> wanted;
    for (const Kept& chunk : chunks_) {
      if (random_.Chance(1, 3)) wanted.push_back(&chunk);
    }
    std::vector<std::string> out;
    std::vector<ChunkRead> reads;
    for (const Kept* chunk : wanted) out.emplace_back(chunk->bytes.size(), '\0');
    for (size_t i = 0; i < wanted.size(); ++i) {
      reads.push_back({wanted[i]->id,
                       wanted[i]->location,
                       {reinterpret_cast<uint8_t*>(out[i].data()), out[i].size()},
                       {}});
    }
    const ReadFrom from = random_.Chance(1, 2) ? ReadFrom::kDisk : ReadFrom::kPageCache;
    const Status status = store_->Read(reads, from);
    for (size_t i = 0; i < wanted.size(); ++i) {
      if (reads[i].status.ok()) {
        ASSERT_EQ(out[i], wanted[i]->bytes);
      } else {
        ASSERT_NE(reads[i].status.code(), Code::kCorrupt) << reads[i].status.ToString();
        ASSERT_TRUE(MayFail()) << reads[i].status.ToString();
      }
    }
    ASSERT_TRUE(status.ok() || MayFail()) << status.ToString();
  }

  // Every chunk and journal of the model is found, and nothing is called damaged.
  void CheckScan(bool verify) {
    std::set<std::pair<ChunkId, ChunkLocation>> found;  // of a moved one also what is left
    std::map<uint64_t, std::string> journals;
    PackStore::ScanSink sink;
    sink.on_chunk = [&](const ChunkId& id, const ChunkLocation& location) {
      found.insert({id, location});
    };
    sink.on_journal = [&](uint64_t sequence, ByteView record) {
      journals[sequence] = AsText(record);
    };
    sink.on_damage = [&](uint64_t offset, const std::string& why) {
      ADD_FAILURE() << "damage at " << offset << ": " << why;
    };
    for (const uint32_t pack : store_->Packs()) {
      const Status status = store_->Scan(pack, verify, sink);
      if (!status.ok()) {
        ASSERT_TRUE(MayFail()) << status.ToString();
        flush_failed_ = true;
        return;
      }
    }
    // A store whose flush has failed scans what its packs hold.
    const size_t held = flush_failed_ ? durable_chunks_ : chunks_.size();
    for (size_t i = 0; i < held; ++i) {
      ASSERT_TRUE(found.count({chunks_[i].id, chunks_[i].location}) != 0);
    }
    if (flush_failed_) return;
    for (const auto& [sequence, record] : journals_) ASSERT_EQ(journals[sequence], record);
  }

  void CheckAll() {
    CheckReads();
    if (::testing::Test::HasFatalFailure()) return;
    CheckScan(random_.Chance(1, 2));
  }

  // False when the store can only be reopened.
  bool RandomStep() {
    Status outcome;
    const uint64_t dice = random_.Below(100);
    if (dice < 68) {
      outcome = Append();
    } else if (dice < 75) {
      outcome = AppendJournal();
    } else if (dice < 85) {
      outcome = Sync();
    } else if (dice < 88) {
      outcome = Seal();
    } else if (dice < 92) {
      outcome = Collect();
    } else if (dice < 98) {
      CheckReads();
    } else {
      CheckScan(random_.Chance(1, 2));
    }
    if (outcome.ok()) return !disk_.crashed();
    if (outcome.code() == Code::kNoSpace || outcome.code() == Code::kErrno) {
      return !disk_.crashed();
    }
    EXPECT_TRUE(MayFail()) << outcome.ToString();
    ExpectFenced(outcome);
    return false;
  }

  Status Seal() {
    RETURN_IF_ERROR(store_->Seal());
    for (const PackInfo& info : store_->Infos()) EXPECT_FALSE(info.writing && info.bytes > 0);
    return Sync();
  }

  // Closing flushes, but cannot tell when that fails.
  void Close() {
    if (MayFail() && !Sync().ok()) ForgetUnsynced();
    store_.reset();
  }

  void Die(bool power_cut) {
    store_.reset();
    if (power_cut) {
      disk_.PowerCut(random_.Next());
    } else {
      disk_.ProcessDeath();
    }
    ForgetUnsynced();
  }

 private:
  // It may be gone; the index never heard of it.
  void ForgetUnsynced() {
    chunks_.resize(durable_chunks_);
    journals_.erase(journals_.upper_bound(durable_sequence_), journals_.end());
  }

  // What could not be read or removed is tried again some time; the store goes on,
  // unless it says something else.
  Status NotFenced(const Status& status) {
    EXPECT_NE(status.code(), Code::kCorrupt) << status.ToString();
    EXPECT_TRUE(MayFail() || status.code() == Code::kNoSpace) << status.ToString();
    return Sync();
  }

  bool MayFail() const { return faults_expected_ || disk_.crashed(); }

  void ExpectFenced(const Status& outcome) {
    if (disk_.crashed()) return;
    EXPECT_TRUE(outcome.code() == Code::kIo || outcome.code() == Code::kReadOnly)
        << outcome.ToString();
    EXPECT_EQ(store_->Append(ChunkId{{1}}, encoder_.Encode(AsBytes("x")), RoomFor::kContent)
                  .status()
                  .code(),
              Code::kReadOnly);
    EXPECT_EQ(store_->Sync().code(), Code::kReadOnly);
    // Reading goes on.
    CheckReads();
  }

  Random random_;
  SimDisk disk_;
  const Fingerprinter fingerprinter_{std::string(Fingerprinter::kSecretBytes, 's')};
  Encoder encoder_;
  PackStoreOptions options_;
  std::unique_ptr<PackStore> store_;
  bool faults_expected_ = false;
  bool flush_failed_ = false;  // by a scan, in this session

  std::vector<Kept> chunks_;
  std::map<uint64_t, std::string> journals_;
  size_t durable_chunks_ = 0;
  uint64_t durable_sequence_ = 0;
  uint64_t sequence_ = 0;
  uint64_t made_ = 0;
};

#define RETURN_IF_FAILED() \
  if (::testing::Test::HasFailure()) return

TEST(PackStoreSim, EqualsTheModel) {
  const uint64_t seed = TestSeed();
  for (uint64_t round = TestRounds(10); round > 0; --round) {
    PackWorld world(seed + round);
    for (int session = 0; session < 3; ++session) {
      world.Open();
      for (int step = 0; step < 150; ++step) {
        ASSERT_TRUE(world.RandomStep());
        RETURN_IF_FAILED();
      }
      world.CheckAll();
      world.Close();
      RETURN_IF_FAILED();
    }
  }
}

TEST(PackStoreSim, SurvivesCrashes) {
  const uint64_t seed = TestSeed();
  for (uint64_t round = TestRounds(25); round > 0; --round) {
    PackWorld world(seed + round);
    for (int session = 0; session < 6; ++session) {
      world.Open();
      ASSERT_TRUE(world.is_open());
      world.CheckAll();
      RETURN_IF_FAILED();
      world.disk().CrashAt(world.disk().change_count() + world.random().Below(120));
      for (int step = 0; step < 200 && world.RandomStep(); ++step) RETURN_IF_FAILED();
      RETURN_IF_FAILED();
      // If it has not crashed yet, it may do so while the store is being closed.
      world.Die(world.random().Chance(2, 3));
    }
    world.Open();
    world.CheckAll();
    RETURN_IF_FAILED();
  }
}

// Each call fails once, with an error of the disk or for lack of space.
TEST(PackStoreSim, SurvivesEveryFailingCall) {
  const uint64_t seed = TestSeed();
  const auto run = [&](PackWorld& world) {
    for (int session = 0; session < 2; ++session) {
      world.Open();
      if (!world.is_open()) world.Open();
      ASSERT_TRUE(world.is_open());
      for (int step = 0; step < 60; ++step) {
        const bool usable = world.RandomStep();
        RETURN_IF_FAILED();
        if (usable) continue;
        world.Die(false);
        world.Open();
        ASSERT_TRUE(world.is_open());  // the one failure has happened
      }
      world.CheckAll();
      RETURN_IF_FAILED();
      world.Close();
    }
    world.Open();
    if (!world.is_open()) world.Open();
    world.CheckAll();
  };
  PackWorld calm(seed);
  run(calm);
  const uint64_t calls = calm.disk().call_count();
  const uint64_t every = std::max<uint64_t>(1, calls / TestRounds(150));
  for (const int os_errno : {EIO, ENOSPC}) {
    for (uint64_t n = 0; n < calls; n += every) {
      PackWorld world(seed);
      world.ExpectFaults();
      world.disk().FailCall(n, os_errno);
      run(world);
      ASSERT_FALSE(::testing::Test::HasFailure()) << "call " << n << ", errno " << os_errno;
    }
  }
}

// A full disk: appends fail, all else holds, and space makes them work again.
TEST(PackStoreSim, SurvivesAFullDisk) {
  const uint64_t seed = TestSeed();
  for (uint64_t round = TestRounds(10); round > 0; --round) {
    PackWorld world(seed + round);
    world.disk().SetCapacity(world.random().Between(200'000, 2'000'000));
    world.Open();
    bool was_full = false;
    for (int step = 0; step < 2000 && !was_full; ++step) {
      const Status status = world.Append();
      was_full = status.code() == Code::kNoSpace;
      ASSERT_TRUE(status.ok() || was_full) << status.ToString();
    }
    ASSERT_TRUE(was_full);
    const Status synced = world.Sync();
    ASSERT_TRUE(synced.ok()) << synced.ToString();
    world.CheckReads();
    RETURN_IF_FAILED();
    for (int step = 0; step < 20; ++step) {
      const Status status = world.Append();
      ASSERT_TRUE(status.ok() || status.code() == Code::kNoSpace) << status.ToString();
    }
    world.disk().SetCapacity(64 << 20);
    for (int step = 0; step < 50; ++step) ASSERT_TRUE(world.Append().ok());
    ASSERT_TRUE(world.Sync().ok());
    world.Die(true);
    world.Open();
    world.CheckAll();
    RETURN_IF_FAILED();
  }
}

}  // namespace
}  // namespace varve
