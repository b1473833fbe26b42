// A file for which the disk has no room twice is stored piece by piece: nobody frees
// anything, the machine dies at any change of the disk, others look at the file and write
// to it in between, and it always is what was written.
#include <fcntl.h>
#include <gtest/gtest.h>

#include <memory>
#include <string>

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

constexpr int64_t kMillisecond = 1'000'000;
const Caller kRoot{};

class World {
 public:
  World(uint64_t seed, uint64_t file_bytes)
      : random_(seed), old_(random_.Bytes(10'000)), bytes_(random_.Bytes(file_bytes)) {}

  SimStore& store() { return store_; }
  const std::string& bytes() const { return bytes_; }
  StoreParts& parts() { return store_.parts(); }
  LiveNodes& live() { return parts().live(); }
  ContentId content() { return parts().tree().Inode(node_)->content; }
  ContentRecord Record() { return *parts().tree().Content(content()); }

  // The file is closed, and there are `room_bytes` left on the disk.
  void Fill(uint64_t room_bytes, bool durable) {
    ASSERT_TRUE(store_.Open().ok());
    const auto created = live().Create(kRoot, kRootNode, "f", S_IFREG | 0644, O_WRONLY);
    ASSERT_TRUE(created.ok());
    node_ = created->entry.node;
    Write(created->opened.handle, 0, old_, false);
    Work(2);
    ASSERT_TRUE(Record().stored);
    const auto opened = live().Open(kRoot, node_, O_WRONLY | O_TRUNC);
    ASSERT_TRUE(opened.ok());
    Write(opened->handle, 0, bytes_, durable);
    durable_ = durable;
    ASSERT_TRUE(parts().committer().CommitNow().ok());
    store_.disk().SetCapacity(store_.disk().used_bytes() + room_bytes);
  }
  void Write(HandleId handle, uint64_t offset, const std::string& bytes, bool sync) {
    ASSERT_TRUE(live().Write(node_, handle, offset, AsBytes(bytes), false).ok());
    if (sync) {
      ASSERT_TRUE(live().Fsync(node_, handle, false).ok());
    }
    ASSERT_TRUE(live().Flush(node_, handle).ok());
    live().Release(node_, handle);
  }
  // In place; it is durable then.
  void Change() {
    const auto opened = live().Open(kRoot, node_, O_RDWR);
    ASSERT_TRUE(opened.ok());
    const uint64_t offset = random_.Below(bytes_.size());
    const std::string part =
        random_.Bytes(std::min<uint64_t>(bytes_.size() - offset, random_.Between(1, 50'000)));
    bytes_.replace(offset, part.size(), part);
    Write(opened->handle, offset, part, true);
    durable_ = true;
  }
  // What the daemon does by itself.
  void Work(int rounds) {
    for (int i = 0; i < rounds && !store_.crashed(); ++i) {
      store_.clock().Advance(400 * kMillisecond);
      parts().digester().RunReady();
      if (!store_.crashed()) parts().committer().Beat();
      if (i % 5 == 4 && !store_.crashed()) (void)parts().collector().Run({.thorough = true});
    }
  }
  bool WorkUntilStored() {
    for (int i = 0; i < 40; ++i) {
      Work(5);
      if (store_.crashed() || parts().digester().Pending().files == 0) return true;
    }
    return false;
  }

  // After a power cut what was not durable may be what it was before.
  void Check(bool power_cut) {
    const auto node = live().Lookup(kRoot, kRootNode, "f");
    ASSERT_TRUE(node.ok());
    const auto opened = live().Open(kRoot, node_, O_RDONLY);
    ASSERT_TRUE(opened.ok()) << opened.status().ToString();
    const auto reply = live().Read(node_, opened->handle, 0, bytes_.size() + 1);
    std::string shown;
    if (reply.ok()) {
      for (const ByteView part : reply->parts) shown.append(AsText(part));
    } else {
      ADD_FAILURE() << reply.status().ToString();
    }
    live().Release(node_, opened->handle);
    if (power_cut && !durable_ && shown == old_) bytes_ = old_;
    EXPECT_TRUE(shown == bytes_) << shown.size() << " of " << bytes_.size() << " bytes";
  }
  void CheckAll() {
    Check(false);
    EXPECT_EQ(store_.Fsck(/*verify=*/true), "");
  }

 private:
  Random random_;
  SimStore store_{{.hot_bytes_max = 1, .pack_bytes = 1 << 20, .disk_bytes = 128 << 20}};
  NodeId node_ = 0;
  std::string old_;
  std::string bytes_;
  bool durable_ = false;
};

class PieceStoreTest : public ::testing::Test {
 protected:
  void SetUp() override { ASSERT_TRUE(InitLog({LogLevel::kError, false, "", false}).ok()); }
  void TearDown() override { EXPECT_TRUE(InitLog(LogOptions()).ok()); }
};

TEST_F(PieceStoreTest, WhatIsLargerThanTheRoomIsStored) {
  // Nothing is free: the ballast, 8 MiB, has to do.
  World world(TestSeed(), 48 << 20);
  ASSERT_NO_FATAL_FAILURE(world.Fill(0, false));
  EXPECT_TRUE(world.WorkUntilStored()) << world.parts().digester().last_error();
  EXPECT_TRUE(world.Record().stored);
  world.CheckAll();
}

TEST_F(PieceStoreTest, WhatIsChangedInPlaceIsStored) {
  World world(TestSeed(), 12 << 20);
  ASSERT_NO_FATAL_FAILURE(world.Fill(16 << 20, false));
  ASSERT_TRUE(world.WorkUntilStored());
  ASSERT_NO_FATAL_FAILURE(world.Change());
  ASSERT_TRUE(world.Record().overlay);
  world.store().disk().SetCapacity(world.store().disk().used_bytes());
  EXPECT_TRUE(world.WorkUntilStored());
  world.CheckAll();
}

TEST_F(PieceStoreTest, WhoReadsItSeesItAll) {
  World world(TestSeed(), 12 << 20);
  ASSERT_NO_FATAL_FAILURE(world.Fill(2 << 20, true));
  const ContentId content = world.content();
  auto before = world.parts().files().OpenContent(content, world.bytes().size(), "before");
  ASSERT_TRUE(before.ok());
  const auto read = [&](ContentReader& reader) {
    std::string all(world.bytes().size(), '\0');
    EXPECT_TRUE(reader.ReadInto(0, {reinterpret_cast<uint8_t*>(all.data()), all.size()}).ok());
    return all == world.bytes();
  };
  world.Work(5);
  EXPECT_FALSE(world.Record().overlay) << "somebody has the staging file open";
  EXPECT_TRUE(read(**before));
  before->reset();
  world.store().disk().CrashAt(world.store().disk().change_count() + 60);
  world.Work(5);
  world.store().ProcessDeath();
  ASSERT_TRUE(world.store().Open().ok());
  ASSERT_TRUE(world.Record().overlay && !world.Record().stored);
  auto between = world.parts().files().OpenContent(content, world.bytes().size(), "between");
  ASSERT_TRUE(between.ok());
  EXPECT_TRUE(read(**between));
  world.Work(5);
  EXPECT_TRUE(read(**between));
  between->reset();
  EXPECT_TRUE(world.WorkUntilStored());
  world.CheckAll();
}

// Every change of the disk, a seed apart, is one at which the machine dies.
void DieAtChanges(bool power_cut) {
  constexpr uint64_t kStride = 5;
  const uint64_t seed = TestSeed();
  uint64_t overlays = 0;
  uint64_t stored = 0;
  for (uint64_t change = seed % kStride; stored < 3; change += kStride) {
    SCOPED_TRACE("seed " + std::to_string(seed) + ", change " + std::to_string(change));
    World world(seed + change, 5 << 20);
    ASSERT_NO_FATAL_FAILURE(world.Fill(3 << 20, change % 2 == 0));
    world.store().disk().CrashAt(world.store().disk().change_count() + change);
    EXPECT_TRUE(world.WorkUntilStored());
    if (!world.store().crashed()) ++stored;
    power_cut ? world.store().PowerCut(seed + change) : world.store().ProcessDeath();
    // A disk that forgets a hole, but not what was put into its place, is none.
    if (power_cut) world.store().disk().SetCapacity(world.store().disk().used_bytes() + (3 << 20));
    const Status opened = world.store().Open();
    ASSERT_TRUE(opened.ok()) << opened.ToString();
    world.Check(power_cut);
    if (world.Record().overlay) ++overlays;
    if (change % 3 == 0) {
      ASSERT_NO_FATAL_FAILURE(world.Change());
    }
    EXPECT_TRUE(world.WorkUntilStored());
    world.CheckAll();
    if (::testing::Test::HasFailure()) return;
  }
  EXPECT_GT(overlays, 5u);
}

TEST_F(PieceStoreTest, TheDaemonDiesAtAnyChange) { DieAtChanges(false); }
TEST_F(PieceStoreTest, ThePowerIsCutAtAnyChange) { DieAtChanges(true); }

}  // namespace
}  // namespace varve
