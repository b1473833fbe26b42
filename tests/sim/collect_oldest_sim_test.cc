// What history makes room, in which order, and when that ends: on a simulated disk whose
// size is chosen for it.
#include <fcntl.h>
#include <gtest/gtest.h>

#include <memory>
#include <string>
#include <vector>

#include "fs/core/open_file.h"
#include "store/base/log.h"
#include "tests/support/random.h"
#include "tests/support/seed.h"
#include "tests/support/sim_store.h"

namespace varve {
namespace {

using testing::Random;
using testing::SimStore;
using testing::TestSeed;

constexpr int64_t kSecond = 1'000'000'000;
constexpr uint64_t kFileBytes = 1 << 20;
constexpr uint64_t kWatermarkShare = 20;
// What somebody else has on the disk, so that a twentieth of it is several files.
constexpr uint64_t kOthersBytes = 80 << 20;
const Caller kRoot{};

using Numbers = std::vector<VersionNumber>;

class CollectOldestTest : public ::testing::Test {
 protected:
  void SetUp() override {
    ASSERT_TRUE(InitLog({LogLevel::kError, false, "", false}).ok());
    OpenStore(/*history_yields=*/true);
  }
  void TearDown() override { EXPECT_TRUE(InitLog(LogOptions()).ok()); }

  void OpenStore(bool history_yields) {
    store_ = std::make_unique<SimStore>(SimStore::Options{.hot_bytes_max = 1,
                                                          .pack_bytes = 512 << 10,
                                                          .disk_bytes = 256 << 20,
                                                          .history_yields = history_yields});
    ASSERT_TRUE(store_->Open().ok());
    const auto others = store_->disk().Open("others", OpenMode::kCreate);
    ASSERT_TRUE(others.ok());
    ASSERT_TRUE((*others)->Allocate(0, 0, kOthersBytes).ok());
  }
  StoreParts& parts() { return store_->parts(); }
  LiveNodes& live() { return parts().live(); }

  NodeId Directory(const std::string& name) {
    const auto made = live().MakeDirectory(kRoot, kRootNode, name, 0755);
    EXPECT_TRUE(made.ok());
    return made->node;
  }
  // The next version of a file; opened for writing it stays so until Close().
  void Write(const std::string& name, NodeId parent = kRootNode) {
    store_->clock().Advance(10 * kSecond);
    const auto found = live().Lookup(kRoot, parent, name);
    HandleId handle = 0;
    NodeId node = 0;
    if (found.ok() && found->node != 0) {
      node = found->node;
      const auto opened = live().Open(kRoot, node, O_WRONLY | O_TRUNC);
      ASSERT_TRUE(opened.ok());
      handle = opened->handle;
    } else {
      const auto created = live().Create(kRoot, parent, name, S_IFREG | 0644, O_WRONLY);
      ASSERT_TRUE(created.ok());
      node = created->entry.node;
      handle = created->opened.handle;
    }
    const std::string bytes = random_.Bytes(kFileBytes);
    ASSERT_TRUE(live().Write(node, handle, 0, AsBytes(bytes), false).ok());
    ASSERT_TRUE(live().Flush(node, handle).ok());
    live().Release(node, handle);
  }
  void Store() {
    store_->clock().Advance(kSecond);
    parts().digester().RunReady();
    ASSERT_EQ(parts().digester().Pending().files, 0u);
    ASSERT_TRUE(parts().committer().CommitNow().ok());
  }
  void Save(const std::string& name, NodeId parent = kRootNode) {
    Write(name, parent);
    Store();
  }
  void Remove(const std::string& name) {
    const auto node = live().Lookup(kRoot, kRootNode, name);
    ASSERT_TRUE(live().RemoveFile(kRoot, kRootNode, name).ok());
    if (node.ok()) live().Forget(node->node, 1000);
    live().RemoveForgotten();
    ASSERT_TRUE(parts().committer().CommitNow().ok());
  }

  // On a disk of which so much is missing up to the watermark.
  CollectReport CollectMissing(uint64_t missing_bytes) {
    EXPECT_EQ(parts().collector().Run({.thorough = true}).error, "");
    EXPECT_EQ(parts().collector().Progress().versions_for_room, 0u);
    const uint64_t used = store_->disk().used_bytes();
    store_->disk().SetCapacity((used - missing_bytes) / (kWatermarkShare - 1) * kWatermarkShare);
    return parts().collector().Run({.thorough = true});
  }
  bool AboveWatermark() {
    const auto space = store_->disk().Space();
    return space->f_bavail >= space->f_blocks / kWatermarkShare;
  }

  Numbers VersionsOf(const std::string& name, NodeId parent = kRootNode) {
    const auto directory = parts().tree().Inode(parent);
    Numbers numbers;
    const key::Range range = key::AllVersions(directory->history, name);
    EXPECT_TRUE(parts()
                    .catalog()
                    .Scan(range.begin, range.end,
                          [&](std::string_view row_key, std::string_view) {
                            numbers.push_back(key::Number(row_key));
                            return true;
                          })
                    .ok());
    return numbers;
  }

  Random random_{TestSeed()};
  std::unique_ptr<SimStore> store_;
};

TEST_F(CollectOldestTest, TheOldestGoesFirstAndOnlyAsMuchAsItTakes) {
  Save("a");
  Save("b");
  Save("a");
  Save("b");
  Save("a");
  Save("b");
  const CollectReport report = CollectMissing(kFileBytes + kFileBytes / 2);
  EXPECT_EQ(report.error, "");
  EXPECT_EQ(VersionsOf("a"), (Numbers{2, 3}));
  EXPECT_EQ(VersionsOf("b"), (Numbers{2, 3}));
  EXPECT_EQ(report.versions_for_room, report.file_versions + report.directory_versions);
  EXPECT_TRUE(AboveWatermark());
  EXPECT_EQ(store_->Fsck(/*verify=*/true), "");
}

TEST_F(CollectOldestTest, EnoughRoomTakesNothing) {
  Save("a");
  Save("a");
  EXPECT_EQ(CollectMissing(0).versions_for_room, 0u);
  EXPECT_EQ(VersionsOf("a"), (Numbers{1, 2}));
}

TEST_F(CollectOldestTest, WithoutTheOptionNothingGoes) {
  OpenStore(/*history_yields=*/false);
  Save("a");
  Save("a");
  EXPECT_EQ(CollectMissing(kFileBytes).versions_for_room, 0u);
  EXPECT_EQ(VersionsOf("a"), (Numbers{1, 2}));
}

TEST_F(CollectOldestTest, WhatIsRemovedGoesInItsTurn) {
  Save("gone");
  Save("a");
  Save("a");
  Remove("gone");
  (void)CollectMissing(kFileBytes / 2);
  EXPECT_EQ(VersionsOf("gone"), Numbers{});
  EXPECT_EQ(VersionsOf("a"), (Numbers{1, 2}));
}

TEST_F(CollectOldestTest, LiveFilesPinsAndClonesStay) {
  const NodeId pinned = Directory("pinned");
  const NodeId cloned = Directory("cloned");
  Save("a", pinned);
  Save("a", cloned);
  Save("live");
  ASSERT_TRUE(parts().capture().Pin(pinned, "pin").ok());
  const NodeId clone = Directory("clone");
  ASSERT_TRUE(
      live().SetXattr(kRoot, clone, "user.varve.clone_of", AsBytes(std::string("cloned")), 0).ok());
  Save("a", pinned);
  Save("a", cloned);
  Save("old");
  Save("old");
  // More than all history has that may go.
  const CollectReport report = CollectMissing(4 * kFileBytes);
  EXPECT_EQ(report.error, "");
  EXPECT_FALSE(AboveWatermark());
  EXPECT_EQ(VersionsOf("old"), Numbers{2});
  EXPECT_EQ(VersionsOf("live"), Numbers{1});
  // What gives nothing stays, too.
  EXPECT_EQ(VersionsOf("a", pinned), (Numbers{1, 2}));
  EXPECT_EQ(VersionsOf("a", cloned), (Numbers{1, 2}));
  EXPECT_TRUE(live().Lookup(kRoot, clone, "a").ok());
  EXPECT_EQ(store_->Fsck(/*verify=*/true), "");
  // And once there is nothing that would help, none goes for nothing.
  EXPECT_EQ(parts().collector().Run({}).versions_for_room, 0u);
}

TEST_F(CollectOldestTest, WhatAPowerCutFallsBackToStays) {
  Save("a");
  Save("a");
  Save("b");
  Save("b");
  // Made again: its rows know nothing of what the name had.
  Remove("a");
  Write("a");
  Write("b");
  (void)CollectMissing(3 * kFileBytes);
  EXPECT_EQ(VersionsOf("a"), (Numbers{2, 3}));
  EXPECT_EQ(VersionsOf("b"), (Numbers{2, 3}));
}

TEST_F(CollectOldestTest, WhatOthersShareGivesNothing) {
  Save("a");
  const auto node = live().Lookup(kRoot, kRootNode, "a")->node;
  for (int i = 0; i < 4; ++i) {  // one chunk of it changes
    store_->clock().Advance(10 * kSecond);
    const auto opened = live().Open(kRoot, node, O_WRONLY);
    ASSERT_TRUE(opened.ok());
    const std::string bytes = random_.Bytes(1000);
    ASSERT_TRUE(live().Write(node, opened->handle, 0, AsBytes(bytes), false).ok());
    ASSERT_TRUE(live().Flush(node, opened->handle).ok());
    live().Release(node, opened->handle);
    Store();
  }
  Save("b");
  Save("b");
  Save("b");
  // Less than these four give, each of which has a chunk of its own.
  const CollectReport report = CollectMissing(kFileBytes / 5);
  EXPECT_EQ(report.error, "");
  EXPECT_TRUE(AboveWatermark());
  EXPECT_EQ(VersionsOf("b"), (Numbers{1, 2, 3}));
  EXPECT_LT(VersionsOf("a").size(), 5u);
}

}  // namespace
}  // namespace varve
