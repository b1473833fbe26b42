// Chunks move and packs go below a living store: what was stored is read as before,
// wherever the machine dies, and packs and base journals give the index again.
//
// The collector here is the smallest there can be: it moves all that the index places in
// one sealed pack, and removes the pack.
#include <fcntl.h>
#include <gtest/gtest.h>

#include <map>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "fs/core/content_recipe.h"
#include "fs/core/journal.h"
#include "fs/core/open_file.h"
#include "store/base/log.h"
#include "tests/support/journal_world.h"
#include "tests/support/seed.h"
#include "tests/support/sim_store.h"

namespace varve {
namespace {

using testing::Random;
using testing::RebuildRows;
using testing::Rebuilt;
using testing::RowsOf;
using testing::SimStore;
using testing::TestRounds;
using testing::TestSeed;

Result<std::vector<ChunkMove>> PlacedIn(Catalog& catalog, uint32_t pack) {
  std::vector<ChunkMove> moves;
  const key::Range chunks = key::Table(key::kChunk);
  RETURN_IF_ERROR(
      catalog.Scan(chunks.begin, chunks.end, [&](std::string_view key, std::string_view value) {
        const Result<ChunkLocation> location = DecodeLocation(value);
        CHECK(location.ok());
        if (location->pack != pack) return true;
        ChunkMove move{{}, *location, {}, {}};
        std::copy(key.begin() + 1, key.end(), move.id.bytes.begin());
        moves.push_back(move);
        return true;
      }));
  return moves;
}

// True when it is gone.
Result<bool> CollectPack(StoreParts& parts, uint32_t pack) {
  PackStore& packs = parts.packs();
  if (parts.contents().UsesPack(pack)) return false;
  const auto commit = [&parts] { return parts.committer().CommitNow(); };
  ASSIGN_OR_RETURN(const JournalSet before, JournalSet::Find(packs));
  if (before.NeededPacks().contains(pack))
    RETURN_IF_ERROR(WriteBaseJournal(packs, parts.catalog(), commit).status());
  ASSIGN_OR_RETURN(const JournalSet journals, JournalSet::Find(packs));
  if (journals.NeededPacks().contains(pack)) return false;
  ASSIGN_OR_RETURN(std::vector<ChunkMove> moves, PlacedIn(parts.catalog(), pack));
  RETURN_IF_ERROR(packs.Move(moves));
  RETURN_IF_ERROR(packs.Sync());
  Batch batch;
  for (const ChunkMove& move : moves) batch.Put(key::Chunk(move.id), EncodeLocation(move.to));
  RETURN_IF_ERROR(parts.catalog().Apply(batch));
  RETURN_IF_ERROR(commit());
  RETURN_IF_ERROR(packs.Remove(pack));
  return true;
}

class CollectWorld {
 public:
  explicit CollectWorld(uint64_t seed)
      : random_(seed), store_({.hot_bytes_max = 1, .pack_bytes = 60'000}) {}

  Random& random() { return random_; }
  bool alive() const { return store_.is_open() && !store_.crashed(); }
  uint64_t collected() const { return collected_; }
  void CrashAt(uint64_t changes) { store_.disk().CrashAt(store_.disk().change_count() + changes); }

  void Open() {
    const Status opened = store_.Open();
    ASSERT_TRUE(opened.ok()) << opened.ToString();
  }

  void Step() {
    const uint64_t dice = random_.Below(100);
    Status status;
    if (dice < 40) {
      status = Save("f" + std::to_string(random_.Below(6)));
    } else if (dice < 55) {
      store_.clock().Advance(300'000'000);
      store_.parts().digester().RunReady();
    } else if (dice < 65) {
      status = store_.parts().committer().CommitNow();
    } else if (dice < 85) {
      status = Collect();
    } else {
      CheckFiles();
    }
    EXPECT_TRUE(status.ok() || store_.crashed()) << status.ToString();
  }

  void CheckFiles() {
    for (const auto& [name, bytes] : files_) {
      const Result<std::string> read = Read(name);
      if (store_.crashed()) return;
      ASSERT_TRUE(read.ok()) << name << ": " << read.status().ToString();
      ASSERT_TRUE(*read == bytes) << name;
    }
  }

  // What fsck finds, and what a rebuild would give.
  void CheckAll() {
    CheckFiles();
    store_.clock().Advance(300'000'000);
    store_.parts().digester().RunReady();
    ASSERT_TRUE(store_.parts().committer().CommitNow().ok());
    ASSERT_EQ(store_.Fsck(/*verify=*/true), "");
    const Result<Rebuilt> rebuilt = RebuildRows(store_.parts().packs());
    ASSERT_TRUE(rebuilt.ok()) << rebuilt.status().ToString();
    ASSERT_TRUE(rebuilt->rows == RowsOf(store_.parts().catalog()));
    const key::Range chunks = key::Table(key::kChunk);
    const Status scanned = store_.parts().catalog().Scan(
        chunks.begin, chunks.end, [&](std::string_view key, std::string_view) {
          EXPECT_TRUE(rebuilt->places.contains(std::string(key)));
          return true;
        });
    ASSERT_TRUE(scanned.ok());
  }

  void End() {
    std::unique_ptr<FileHandle>(reinterpret_cast<FileHandle*>(handle_)).reset();
    handle_ = 0;
    random_.Chance(1, 2) ? store_.PowerCut(random_.Next()) : store_.ProcessDeath();
  }

 private:
  LiveNodes& live() { return store_.parts().live(); }

  // Anew, durably. Until it is, whatever the file holds is right.
  Status Save(const std::string& name) {
    std::string bytes = random_.Bytes(random_.Between(1, 30'000));
    if (random_.Chance(1, 3)) bytes = std::string(bytes.size(), bytes[0]);
    files_.erase(name);
    NodeId node = 0;
    if (nodes_.contains(name)) {
      node = nodes_[name];
      ASSIGN_OR_RETURN(const auto opened, live().Open(Caller{}, node, O_WRONLY | O_TRUNC));
      handle_ = opened.handle;
    } else {
      // A name of its own, for what an earlier life left under another is not looked for.
      ASSIGN_OR_RETURN(
          const auto created,
          live().Create(Caller{}, kRootNode, name + "-" + std::to_string(made_++), 0644, O_WRONLY));
      node = created.entry.node;
      handle_ = created.opened.handle;
    }
    RETURN_IF_ERROR(live().Write(node, handle_, 0, AsBytes(bytes), false));
    RETURN_IF_ERROR(live().Fsync(node, handle_, false));
    RETURN_IF_ERROR(live().Flush(node, handle_));
    live().Release(node, std::exchange(handle_, 0));
    nodes_[name] = node;
    files_[name] = bytes;
    return {};
  }

  Result<std::string> Read(const std::string& name) {
    const NodeId node = nodes_[name];
    ASSIGN_OR_RETURN(const auto opened, live().Open(Caller{}, node, O_RDONLY));
    std::string bytes;
    const Result<ReadReply> reply = live().Read(node, opened.handle, 0, 1 << 20);
    if (reply.ok())
      for (const ByteView part : reply->parts) bytes.append(AsText(part));
    live().Release(node, opened.handle);
    RETURN_IF_ERROR(reply.status());
    return bytes;
  }

  Status Collect() {
    if (random_.Chance(1, 3)) RETURN_IF_ERROR(store_.parts().packs().Seal());
    std::vector<uint32_t> sealed;
    for (const PackInfo& info : store_.parts().packs().Infos())
      if (!info.writing) sealed.push_back(info.pack);
    if (sealed.empty()) return {};
    ASSIGN_OR_RETURN(const bool gone,
                     CollectPack(store_.parts(), sealed[random_.Below(sealed.size())]));
    if (gone) ++collected_;
    return {};
  }

  Random random_;
  SimStore store_;
  std::map<std::string, NodeId> nodes_;       // inode numbers stay
  std::map<std::string, std::string> files_;  // what is durable
  HandleId handle_ = 0;                       // of a file that is being saved
  uint64_t made_ = 0;
  uint64_t collected_ = 0;
};

class CollectSimTest : public ::testing::Test {
 protected:
  void SetUp() override { ASSERT_TRUE(InitLog({LogLevel::kError, false, "", false}).ok()); }
  void TearDown() override { EXPECT_TRUE(InitLog(LogOptions()).ok()); }
};

TEST_F(CollectSimTest, NothingFails) {
  const uint64_t seed = TestSeed();
  for (uint64_t round = 0; round < TestRounds(10) && !HasFailure(); ++round) {
    SCOPED_TRACE("round " + std::to_string(round));
    CollectWorld world(seed + round * 1000003);
    for (int life = 0; life < 3 && !HasFailure(); ++life) {
      world.Open();
      for (int step = 0; step < 120 && !HasFailure(); ++step) world.Step();
      world.CheckAll();
      world.End();
    }
    EXPECT_GT(world.collected(), 0u);
  }
}

TEST_F(CollectSimTest, Crashes) {
  uint64_t collected = 0;
  const uint64_t seed = TestSeed();
  for (uint64_t round = 0; round < TestRounds(40) && !HasFailure(); ++round) {
    SCOPED_TRACE("round " + std::to_string(round));
    CollectWorld world(seed + round * 1000003);
    for (int life = 0; life < 6 && !HasFailure(); ++life) {
      world.Open();
      if (HasFatalFailure()) return;
      world.CheckAll();
      world.CrashAt(world.random().Below(300));
      for (int step = 0; step < 150 && world.alive() && !HasFailure(); ++step) world.Step();
      world.End();
    }
    world.Open();
    if (HasFatalFailure()) return;
    world.CheckAll();
    world.End();
    collected += world.collected();
  }
  EXPECT_GT(collected, 0u);
}

}  // namespace
}  // namespace varve
