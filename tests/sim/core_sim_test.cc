// The whole core on a simulated machine: whatever is done, and wherever it fails or
// dies, the store shows what docs/SEMANTICS.md promises.
//
// tests/support/core_world.h drives the real parts of a store and a model of them;
// tests/support/core_judge.h says what a crash may leave; tests/support/sim_disk.h
// says what a power cut does to a disk.
#include <fcntl.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <chrono>
#include <functional>
#include <future>

#include "store/base/log.h"
#include "tests/support/core_world.h"
#include "tests/support/seed.h"

namespace varve {
namespace {

using testing::BytesPointer;
using testing::CoreWorld;
using testing::Ending;
using testing::Random;
using testing::SimStore;
using testing::TestRounds;
using testing::TestSeed;

constexpr int64_t kMillisecond = 1'000'000;

class CoreSimTest : public ::testing::Test {
 protected:
  // What went wrong is the point of these tests; thousands of lines of it are not.
  void SetUp() override { ASSERT_TRUE(InitLog({LogLevel::kError, false, "", false}).ok()); }
  void TearDown() override { EXPECT_TRUE(InitLog(LogOptions()).ok()); }
};

void Live(CoreWorld& world, uint64_t steps) {
  for (uint64_t i = 0; i < steps && world.alive(); ++i) world.Step();
}

TEST_F(CoreSimTest, NothingFails) {
  const uint64_t seed = TestSeed();
  for (uint64_t round = 0; round < TestRounds(60) && !HasFailure(); ++round) {
    SCOPED_TRACE("round " + std::to_string(round));
    CoreWorld world(seed + round * 1000003);
    for (int life = 0; life < 4 && !HasFailure(); ++life) {
      world.Open();
      Live(world, 100);
      world.Check();
      world.End(world.random().Chance(1, 2) ? Ending::kUmount : Ending::kProcessDeath);
    }
  }
}

// A life of everything that this store has to do with a disk, always the same.
void ScriptedLife(CoreWorld& world) {
  const auto name = [](const char* text) { return LinkName{kRootNode, text}; };
  const auto inode = [&](const char* text) { return world.model().Find(name(text)); };
  const auto close = [&] {
    if (world.handles() == 0) return;
    world.Flush(world.handles() - 1);
    if (world.alive()) world.Release(world.handles() - 1);
  };
  const auto last = [&] { return world.handles() - 1; };
  const auto save = [&](const char* text, size_t size, bool sync) {
    const bool opened = inode(text) != 0 ? world.Open(inode(text), O_WRONLY | O_TRUNC)
                                         : world.Create(name(text), O_WRONLY);
    if (!opened) return;
    world.Write(last(), 0, Random(size).Bytes(size));
    if (sync && world.alive()) world.Fsync(last());
    if (world.alive()) close();
  };
  const auto change = [&](const char* text, uint64_t offset, size_t size) {
    if (inode(text) == 0 || !world.Open(inode(text), O_RDWR)) return;
    world.Write(last(), offset, Random(offset).Bytes(size));
    if (world.alive()) close();
  };
  const auto digest = [&] {
    world.Wait(300 * kMillisecond);
    world.Digest();
  };
  const std::function<void()> steps[] = {
      [&] { save("model.pt", 100'000, true); },
      [&] { world.Make(name("run"), S_IFDIR | 0755); },
      [&] { save("log", 3'000, false); },
      digest,
      [&] { world.Beat(); },
      [&] { save("model.pt", 90'000, false); },
      [&] { change("log", 3'000, 500); },
      [&] {
        world.Rename(name("log"), {inode("run"), "log"}, 0);
      },
      digest,
      [&] { change("model.pt", 5'000, 1'000); },  // its hot copy
      [&] { save("model.tmp", 70'000, true); },
      [&] { world.Rename(name("model.tmp"), name("model.pt"), 0); },
      [&] { world.SetXattr(kRootNode, "user.loss", "0.5"); },
      [&] { world.FsyncDirectory(); },
      digest,
      [&] { world.Beat(); },
      [&] { save("small", 9'000, false); },
      digest,
      [&] { change("small", 100, 50); },  // an overlay
      [&] {
        if (inode("small") != 0) world.Truncate(inode("small"), 4'000, std::nullopt);
      },
      [&] {
        if (inode("small") != 0) world.Link(inode("small"), name("second"));
      },
      [&] { world.Beat(); },
      digest,
      [&] { world.Unlink(name("small")); },
      [&] { save("second", 2'000, true); },
      [&] { world.Wait(4'000 * kMillisecond); },
      [&] { world.Beat(); },
      [&] { save("gone", 80'000, false); },
      [&] { world.Unlink(name("gone")); },
      [&] { world.Sync(); },
      [&] { world.Beat(); },
      [&] { world.ReadAnyVersion(); },
  };
  for (const auto& step : steps)
    if (world.alive()) step();
}

// For n = 0, 1, …: a new world in which `fail` spoils call number n of the scripted life,
// until the life makes fewer calls. The last store is opened and judged.
void ForEveryCall(Ending ending, uint64_t stride,
                  const std::function<uint64_t(CoreWorld& world)>& count,
                  const std::function<void(CoreWorld& world, uint64_t n)>& spoil) {
  const uint64_t seed = TestSeed();
  bool more = true;
  for (uint64_t n = seed % stride; more && !::testing::Test::HasFailure(); n += stride) {
    SCOPED_TRACE("call " + std::to_string(n));
    CoreWorld world(seed);
    world.Open();
    const uint64_t begin = count(world);
    spoil(world, n);
    ScriptedLife(world);
    more = count(world) > begin + n;
    if (!more) break;
    world.Check();
    world.End(ending);
    world.Open();
    world.Check();
    // It goes on as if nothing had been.
    Live(world, 10);
    world.End(Ending::kUmount);
    world.Open();
    world.Check();
  }
}

TEST_F(CoreSimTest, EveryCallFailsOnce) {
  ForEveryCall(
      Ending::kUmount, 1, [](CoreWorld& world) { return world.store().disk().call_count(); },
      [](CoreWorld& world, uint64_t n) { world.FailCall(n, EIO); });
}

TEST_F(CoreSimTest, EveryChangeFindsTheDiskFullOnce) {
  ForEveryCall(
      Ending::kUmount, 1, [](CoreWorld& world) { return world.store().disk().change_count(); },
      [](CoreWorld& world, uint64_t n) { world.FailChange(n, ENOSPC); });
}

TEST_F(CoreSimTest, DeathAtEveryCall) {
  ForEveryCall(
      Ending::kProcessDeath, 1,
      [](CoreWorld& world) { return world.store().disk().change_count(); },
      [](CoreWorld& world, uint64_t n) { world.CrashAt(n); });
}

TEST_F(CoreSimTest, PowerCutAtEveryCall) {
  ForEveryCall(
      Ending::kPowerCut, 1, [](CoreWorld& world) { return world.store().disk().change_count(); },
      [](CoreWorld& world, uint64_t n) { world.CrashAt(n); });
}

// The machine dies at any moment, at recovery too, and its disk forgets.
TEST_F(CoreSimTest, PowerCuts) {
  const uint64_t seed = TestSeed();
  for (uint64_t round = 0; round < TestRounds(60) && !HasFailure(); ++round) {
    SCOPED_TRACE("round " + std::to_string(round));
    CoreWorld world(seed + round * 1000003);
    for (int life = 0; life < 6 && !HasFailure(); ++life) {
      Random& random = world.random();
      if (random.Chance(1, 5)) world.CrashAt(random.Below(150));
      world.Open();
      if (random.Chance(1, 4)) {
        world.CrashAtIndexWrite(random.Below(8), random.Chance(1, 2));
      } else if (random.Chance(9, 10)) {
        world.CrashAt(random.Below(500));
      }
      Live(world, 100);
      world.End(random.Chance(7, 8) ? Ending::kPowerCut : Ending::kProcessDeath);
    }
    world.Open();
    world.Check();
  }
}

// What an fsync that was cut short made durable may be that the file is empty.
TEST_F(CoreSimTest, AFileThatEndsEmptyIsNotLost) {
  const LinkName name{kRootNode, "a"};
  const uint64_t seed = TestSeed();
  bool more = true;
  for (uint64_t n = 0; more && !HasFailure(); ++n) {
    for (uint64_t outcome = 0; outcome < 16 && !HasFailure(); ++outcome) {
      SCOPED_TRACE("change " + std::to_string(n) + ", outcome " + std::to_string(outcome));
      CoreWorld world(seed + outcome);
      world.Open();
      ASSERT_TRUE(world.Create(name, O_WRONLY));
      ASSERT_TRUE(world.FsyncDirectory());
      ASSERT_TRUE(world.Write(0, 0, "bytes"));
      ASSERT_TRUE(world.Truncate(world.model().Find(name), 0, 0));
      world.CrashAt(n);
      more = !world.Fsync(0);
      world.End(Ending::kPowerCut);
      world.Open();
      world.Check();
    }
  }
}

// A name falls back along all that its last version was changed from, also what no version
// names any more.
TEST_F(CoreSimTest, AFileFallsBackPastWhatNoVersionNames) {
  const LinkName name{kRootNode, "a"};
  const LinkName other{kRootNode, "b"};
  CoreWorld world(TestSeed());
  const auto save = [&](const LinkName& place, size_t size) {
    const InodeNumber inode = world.model().Find(place);
    ASSERT_TRUE(inode != 0 ? world.Open(inode, O_WRONLY | O_TRUNC) : world.Create(place, O_WRONLY));
    ASSERT_TRUE(world.Write(0, 0, Random(size).Bytes(size)));
    ASSERT_TRUE(world.Flush(0) && world.Release(0));
  };
  world.Open();
  save(name, 5'000);
  world.Wait(300 * kMillisecond);
  world.Digest();
  const BytesPointer stored = world.model().nodes.at(world.model().Find(name)).bytes;
  // Two that are lost; the first one's only version goes with it.
  save(name, 4'000);
  save(name, 3'000);
  ASSERT_TRUE(world.Link(world.model().Find(name), other));
  ASSERT_TRUE(world.Unlink(other));
  ASSERT_TRUE(world.FsyncDirectory());
  world.End(Ending::kPowerCut);
  world.Open();
  save(other, 2'000);
  ASSERT_TRUE(world.FsyncDirectory());
  world.End(Ending::kPowerCut);
  world.Open();
  world.Check();
  EXPECT_TRUE(*world.model().nodes.at(world.model().Find(other)).bytes == *stored);
}

// An overlay that a capture names goes on as another one, on the same base; what it falls
// back to is the one that it was, not the base.
TEST_F(CoreSimTest, AnOverlayFallsBackToTheOneThatItContinues) {
  const LinkName name{kRootNode, "a"};
  CoreWorld world(TestSeed());
  world.Open();
  ASSERT_TRUE(world.Create(name, O_WRONLY));
  const InodeNumber inode = world.model().Find(name);
  ASSERT_TRUE(world.Write(0, 0, Random(1).Bytes(5'000)));
  ASSERT_TRUE(world.Flush(0) && world.Release(0));
  world.Wait(300 * kMillisecond);
  world.Digest();
  ASSERT_TRUE(world.Open(inode, O_WRONLY | O_APPEND));
  ASSERT_TRUE(world.Write(0, 5'000, "more"));
  ASSERT_TRUE(world.Fsync(0));
  ASSERT_TRUE(world.Flush(0) && world.Release(0));
  const BytesPointer durable = world.model().nodes.at(inode).bytes;
  ASSERT_TRUE(world.Pin(kRootNode, "pin"));
  ASSERT_TRUE(world.Truncate(inode, 3'000, std::nullopt));
  ASSERT_TRUE(world.FsyncDirectory());
  world.End(Ending::kPowerCut);
  world.Open();
  world.Check();
  EXPECT_TRUE(*world.model().nodes.at(inode).bytes == *durable);
}

// What a file was before it was opened is nearer to it than what its new name was.
TEST_F(CoreSimTest, ARenamedFileThatIsRewrittenFallsBackToItself) {
  const LinkName name{kRootNode, "a"};
  const LinkName other{kRootNode, "b"};
  CoreWorld world(TestSeed());
  world.Open();
  for (const LinkName& place : {other, name}) {
    ASSERT_TRUE(world.Create(place, O_WRONLY));
    ASSERT_TRUE(world.Write(0, 0, place.name + " is durable"));
    ASSERT_TRUE(world.Fsync(0) && world.Flush(0) && world.Release(0));
  }
  const InodeNumber inode = world.model().Find(name);
  const BytesPointer durable = world.model().nodes.at(inode).bytes;
  ASSERT_TRUE(world.Open(inode, O_WRONLY | O_TRUNC));
  ASSERT_TRUE(world.Write(0, 0, "not durable"));
  ASSERT_TRUE(world.Rename(name, other, 0));
  ASSERT_TRUE(world.FsyncDirectory());
  world.End(Ending::kPowerCut);
  world.Open();
  world.Check();
  EXPECT_EQ(*world.model().nodes.at(inode).bytes, *durable);
}

// What a file replaced while somebody wrote it, and no version names, goes with its last
// handle: there is nothing to fall back to.
TEST_F(CoreSimTest, AFileThatReplacedAnUnclosedOneIsCaptured) {
  const LinkName name{kRootNode, "a"};
  const LinkName other{kRootNode, "b"};
  CoreWorld world(TestSeed());
  world.Open();
  ASSERT_TRUE(world.Create(other, O_WRONLY));
  ASSERT_TRUE(world.Write(0, 0, "never closed"));
  ASSERT_TRUE(world.Create(name, O_WRONLY));
  ASSERT_TRUE(world.Write(1, 0, "closed, and written again"));
  ASSERT_TRUE(world.Flush(1));
  ASSERT_TRUE(world.Rename(name, other, 0));
  ASSERT_TRUE(world.Flush(0) && world.Release(0));
  world.ForgetNewest();
  world.ForgetNewest();
  world.RemoveForgotten();
  ASSERT_TRUE(world.Write(0, 0, "CLOSED"));
  ASSERT_TRUE(world.Make({kRootNode, "elsewhere"}, S_IFDIR | 0755));
  ASSERT_TRUE(world.Pin(world.model().Find({kRootNode, "elsewhere"}), "pin"));
  world.Check();
}

// One file, stored without a hot copy: who changes it gets an overlay.
class OverlayFlushTest : public CoreSimTest {
 protected:
  void SetUp() override {
    CoreSimTest::SetUp();
    ASSERT_TRUE(store_.Open().ok());
    const auto created = live().Create(Caller{}, kRootNode, "small", 0644, O_WRONLY);
    ASSERT_TRUE(created.ok());
    node_ = created->entry.node;
    Write(created->opened.handle, 0, bytes_);
    Close(created->opened.handle);
    Digest();
  }

  LiveNodes& live() { return store_.parts().live(); }
  HandleId Open(int flags) {
    const auto opened = live().Open(Caller{}, node_, flags);
    EXPECT_TRUE(opened.ok());
    return opened.ok() ? opened->handle : 0;
  }
  void Write(HandleId handle, uint64_t offset, const std::string& text) {
    ASSERT_TRUE(live().Write(node_, handle, offset, AsBytes(text), false).ok());
    bytes_.replace(offset, text.size(), text);
  }
  void Close(HandleId handle) {
    ASSERT_TRUE(live().Flush(node_, handle).ok());
    live().Release(node_, handle);
  }
  void Digest() {
    store_.clock().Advance(300 * kMillisecond);
    store_.parts().digester().RunReady();
  }
  std::string Read() {
    const HandleId handle = Open(O_RDONLY);
    const auto reply = live().Read(node_, handle, 0, 1 << 20);
    std::string bytes;
    if (reply.ok())
      for (const ByteView part : reply->parts) bytes.append(AsText(part));
    live().Release(node_, handle);
    return bytes;
  }

  SimStore store_{{}};
  NodeId node_ = 0;
  std::string bytes_ = std::string(9000, 'a');
};

TEST_F(OverlayFlushTest, ADigestEndsDuringAFlush) {
  const HandleId writing = Open(O_RDWR);
  Write(writing, 100, "changed");
  const HandleId reading = Open(O_RDONLY);
  Close(writing);
  store_.disk().DuringNextSync([&] { Digest(); });
  ASSERT_TRUE(live().Fsync(node_, reading, false).ok());
  EXPECT_EQ(store_.Fsck(true), "");
  Digest();
  EXPECT_EQ(store_.parts().digester().Pending().files, 0u);
  EXPECT_EQ(store_.Fsck(true), "");
  EXPECT_EQ(Read(), bytes_);
}

TEST_F(OverlayFlushTest, TheFileIsOpenedAnewDuringAFlush) {
  const HandleId writing = Open(O_RDWR);
  Write(writing, 100, "changed");
  const HandleId reading = Open(O_RDONLY);
  Close(writing);
  const ContentId content = store_.parts().tree().Inode(node_)->content;
  HandleId second = 0;
  std::future<void> written;
  store_.disk().DuringNextSync([&] {
    live().Release(node_, reading);
    second = Open(O_RDWR);
    // It may wait for the flush.
    written = std::async(std::launch::async, [&] { Write(second, 107, "more"); });
    written.wait_for(std::chrono::milliseconds(100));
  });
  store_.clock().Advance(10'000 * kMillisecond);
  ASSERT_TRUE(store_.parts().files().FlushPending(content).ok());
  written.get();
  Close(second);
  EXPECT_EQ(Read(), bytes_);
  store_.ProcessDeath();
  ASSERT_TRUE(store_.Open().ok());
  EXPECT_EQ(Read(), bytes_);
  EXPECT_EQ(store_.Fsck(true), "");
}

}  // namespace
}  // namespace varve
