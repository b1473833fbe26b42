// A scrub of a simulated store finds what was damaged below it, names what needs it, and
// calls nothing damage that others move, remove or store meanwhile.
#include <fcntl.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <map>
#include <memory>
#include <string>
#include <vector>

#include "fs/core/content_recipe.h"
#include "fs/core/fsck_chunks.h"
#include "store/base/log.h"
#include "store/pack/pack_format.h"
#include "tests/support/seed.h"
#include "tests/support/sim_store.h"

namespace varve {
namespace {

using ::testing::Contains;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsSupersetOf;
using testing::Random;
using testing::SimStore;
using testing::TestRounds;
using testing::TestSeed;

constexpr uint64_t kPackBytes = 200'000;

class ScrubSimTest : public ::testing::Test {
 protected:
  void SetUp() override {
    ASSERT_TRUE(InitLog({LogLevel::kError, false, "", false}).ok());
    Open();
  }
  void TearDown() override { EXPECT_TRUE(InitLog(LogOptions()).ok()); }

  void Open() {
    const Status opened = store_.Open();
    ASSERT_TRUE(opened.ok()) << opened.ToString();
  }

  LiveNodes& live() { return store_.parts().live(); }
  Scrubber& scrubber() { return store_.parts().scrubber(); }
  ScrubReport Scrub() { return scrubber().Run(); }

  NodeId Save(const std::string& name, const std::string& bytes, NodeId parent = kRootNode) {
    const Result<Entry> found = live().Lookup(Caller{}, parent, name);
    NodeId node = 0;
    HandleId handle = 0;
    if (found.ok() && found->node != 0) {
      node = found->node;
      handle = live().Open(Caller{}, node, O_WRONLY | O_TRUNC)->handle;
    } else {
      const Result<Created> created = live().Create(Caller{}, parent, name, 0644, O_WRONLY);
      EXPECT_TRUE(created.ok()) << created.status().ToString();
      node = created->entry.node;
      handle = created->opened.handle;
    }
    EXPECT_TRUE(live().Write(node, handle, 0, AsBytes(bytes), false).ok());
    EXPECT_TRUE(live().Flush(node, handle).ok());
    live().Release(node, handle);
    Store();
    return node;
  }

  void Store() {
    store_.clock().Advance(300'000'000);
    store_.parts().digester().RunReady();
    EXPECT_TRUE(store_.parts().committer().CommitNow().ok());
  }

  ContentId ContentOf(NodeId node) { return store_.parts().tree().Inode(node)->content; }

  // Where the first chunk of a file lies; its pack is closed.
  ChunkLocation PlaceOf(NodeId node) {
    EXPECT_TRUE(store_.parts().packs().Seal().ok());
    Catalog& catalog = store_.parts().catalog();
    const auto segment = FindSegment(catalog, ContentOf(node), 0);
    EXPECT_TRUE(segment.ok() && *segment);
    return **FindLocation(catalog, (*segment)->pieces[0].id);
  }

  static std::string PathOf(uint32_t pack) { return "packs/" + PackFileName(pack); }

  uint64_t SizeOf(uint32_t pack) {
    return static_cast<uint64_t>(store_.disk().Stat(PathOf(pack))->st_size);
  }

  void Flip(uint32_t pack, uint64_t offset) {
    const auto file = store_.disk().Open(PathOf(pack), OpenMode::kReadWrite);
    ASSERT_TRUE(file.ok());
    uint8_t byte = 0;
    ASSERT_EQ(*(*file)->ReadAt(offset, {&byte, 1}), 1u);
    byte ^= 0x10;
    ASSERT_TRUE((*file)->WriteAt(offset, {&byte, 1}).ok());
  }

  static void ExpectOnlyPlace(const ScrubReport& report, const std::string& why) {
    EXPECT_EQ(report.error, "");
    EXPECT_THAT(report.places, ElementsAre(HasSubstr(why)));
    EXPECT_EQ(report.damaged_places, 1u);
    EXPECT_EQ(report.damaged_chunks, 0u);
    EXPECT_EQ(report.damaged_files, 0u);
    EXPECT_FALSE(report.clean());
  }

  Random random_{TestSeed()};
  SimStore store_{{.hot_bytes_max = 1, .pack_bytes = kPackBytes}};
};

TEST_F(ScrubSimTest, NothingIsDamaged) {
  uint64_t bytes = 0;
  for (int i = 0; i < 8; ++i) {
    const std::string data = random_.Bytes(50'000);
    bytes += data.size();
    Save("f" + std::to_string(i), data);
  }
  const ScrubReport report = Scrub();
  EXPECT_EQ(report.error, "");
  EXPECT_TRUE(report.clean());
  EXPECT_GE(report.bytes, bytes);
  EXPECT_GE(report.chunks, 8u);
  EXPECT_GT(report.packs, 1u);
  EXPECT_EQ(report.files, std::vector<std::string>());
  // Told after the next mount, too.
  Store();
  store_.ProcessDeath();
  Open();
  const ScrubReport kept = scrubber().Progress().last;
  EXPECT_EQ(kept.counts(), report.counts());
  EXPECT_GT(kept.ended_s, 0u);
}

TEST_F(ScrubSimTest, AnEmptyStore) {
  const ScrubReport report = Scrub();
  EXPECT_EQ(report.error, "");
  EXPECT_TRUE(report.clean());
}

TEST_F(ScrubSimTest, PayloadOfAChunk) {
  const std::string shared = random_.Bytes(40'000);
  const NodeId node = Save("good then bad", "good");
  Save("good then bad", shared);
  Save("good then bad", "good again");
  Save("good then bad", shared);
  Save("same", shared);
  Save("other", random_.Bytes(40'000));
  const ChunkLocation place = PlaceOf(node);
  Flip(place.pack, place.offset_bytes + kHeaderBytes + 17);
  const ScrubReport report = Scrub();
  EXPECT_EQ(report.error, "");
  EXPECT_EQ(report.damaged_places, 1u);
  EXPECT_EQ(report.damaged_chunks, 1u);
  EXPECT_THAT(report.files, ::testing::UnorderedElementsAre("/good then bad",
                                                            "/.varve/versions/good then bad/0002",
                                                            "/.varve/versions/good then bad/0004",
                                                            "/same", "/.varve/versions/same/0001"));
}

TEST_F(ScrubSimTest, AHeaderThatOnlyARebuildNeeds) {
  const ChunkLocation place = PlaceOf(Save("f", random_.Bytes(40'000)));
  Flip(place.pack, place.offset_bytes + 9);
  ExpectOnlyPlace(Scrub(), "no intact record");
}

TEST_F(ScrubSimTest, AJournal) {
  const ChunkLocation place = PlaceOf(Save("f", random_.Bytes(40'000)));
  const Result<std::vector<JournalInfo>> journals = store_.parts().packs().JournalsOf(place.pack);
  ASSERT_TRUE(journals.ok());
  ASSERT_FALSE(journals->empty());
  Flip(place.pack, journals->front().offset_bytes + kHeaderBytes + 3);
  ExpectOnlyPlace(Scrub(), "payload does not match its hash");
}

TEST_F(ScrubSimTest, ThePacksHeader) {
  const ChunkLocation place = PlaceOf(Save("f", random_.Bytes(40'000)));
  Flip(place.pack, 20);
  ExpectOnlyPlace(Scrub(), "at byte 0");
}

TEST_F(ScrubSimTest, TheTableOfAPack) {
  const ChunkLocation place = PlaceOf(Save("f", random_.Bytes(40'000)));
  Flip(place.pack, SizeOf(place.pack) - kBlockBytes + kHeaderBytes + 5);
  ExpectOnlyPlace(Scrub(), "damaged table");
}

TEST_F(ScrubSimTest, TheTrailerOfAPack) {
  const ChunkLocation place = PlaceOf(Save("f", random_.Bytes(40'000)));
  Flip(place.pack, SizeOf(place.pack) - 5);
  ExpectOnlyPlace(Scrub(), "damaged trailer");
}

TEST_F(ScrubSimTest, APackThatBecameShorter) {
  const ChunkLocation place = PlaceOf(Save("f", random_.Bytes(40'000)));
  const auto file = store_.disk().Open(PathOf(place.pack), OpenMode::kReadWrite);
  ASSERT_TRUE((*file)->Truncate(place.offset_bytes + 1000).ok());
  const ScrubReport report = Scrub();
  EXPECT_EQ(report.error, "");
  EXPECT_THAT(report.places, Contains(HasSubstr("cut off")));
  EXPECT_GE(report.damaged_chunks, 1u);
  EXPECT_THAT(report.files, Contains("/f"));
}

TEST_F(ScrubSimTest, APackWithoutAName) {
  const NodeId node = Save("f", random_.Bytes(40'000));
  const ChunkLocation place = PlaceOf(node);
  // Somebody reads it, and could go on.
  ASSERT_TRUE(Scrub().clean());
  ASSERT_TRUE(store_.disk().Remove(PathOf(place.pack)).ok());
  const ScrubReport report = Scrub();
  EXPECT_EQ(report.error, "");
  EXPECT_THAT(report.places, ElementsAre(HasSubstr("is gone")));
  EXPECT_GE(report.damaged_chunks, 1u);
  EXPECT_THAT(report.files, IsSupersetOf({"/f", "/.varve/versions/f/0001"}));
}

TEST_F(ScrubSimTest, APackThatWasGoneBefore) {
  const ChunkLocation place = PlaceOf(Save("f", random_.Bytes(40'000)));
  Save("g", random_.Bytes(40'000));
  store_.ProcessDeath();
  ASSERT_TRUE(store_.disk().Remove(PathOf(place.pack)).ok());
  Open();
  const ScrubReport report = Scrub();
  EXPECT_GE(report.damaged_chunks, 1u);
  EXPECT_THAT(report.files, Contains("/f"));
  EXPECT_THAT(report.files, ::testing::Not(Contains("/g")));
}

TEST_F(ScrubSimTest, WhatIsKnownIsCountedApart) {
  const ChunkLocation place = PlaceOf(Save("f", random_.Bytes(40'000)));
  Flip(place.pack, place.offset_bytes + 9);
  Batch batch;
  batch.Put(DamageKey(place.pack, place.offset_bytes), "known");
  ASSERT_TRUE(store_.parts().catalog().Apply(batch).ok());
  const ScrubReport report = Scrub();
  EXPECT_TRUE(report.clean());
  EXPECT_EQ(report.known_places, 1u);
}

TEST_F(ScrubSimTest, AllNamesAreTold) {
  const Result<Entry> dir = live().MakeDirectory(Caller{}, kRootNode, "dir", 0755);
  const std::string bytes = random_.Bytes(40'000);
  const NodeId node = Save("f", bytes, dir->node);
  ASSERT_TRUE(live().MakeLink(Caller{}, node, kRootNode, "link").ok());
  const Result<Entry> gone = live().MakeDirectory(Caller{}, kRootNode, "gone", 0755);
  Save("g", bytes, gone->node);
  ASSERT_TRUE(live().RemoveFile(Caller{}, gone->node, "g").ok());
  ASSERT_TRUE(live().RemoveDirectory(Caller{}, kRootNode, "gone").ok());
  // Written in place on what is stored.
  const NodeId changed = Save("changed", bytes);
  const HandleId handle = live().Open(Caller{}, changed, O_WRONLY)->handle;
  ASSERT_TRUE(live().Write(changed, handle, 10, AsBytes(std::string("x")), false).ok());
  const ChunkLocation place = PlaceOf(node);
  Flip(place.pack, place.offset_bytes + kHeaderBytes);
  EXPECT_THAT(Scrub().files,
              ::testing::UnorderedElementsAre("/dir/f", "/link", "/dir/.varve/versions/f/0001",
                                              "/.varve/versions/link/0001", "/changed",
                                              "/.varve/versions/changed/0001",
                                              "version 1 of \"g\", whose directory was removed"));
  live().Release(changed, handle);
}

TEST_F(ScrubSimTest, TheRateIsKept) {
  for (int i = 0; i < 10; ++i) Save("f" + std::to_string(i), random_.Bytes(90'000));
  ASSERT_TRUE(scrubber().AskFor("rate=100000").ok());
  const int64_t begin_ns = store_.clock().MonotonicNs();
  const ScrubReport report = Scrub();
  EXPECT_TRUE(report.clean());
  const double seconds = static_cast<double>(store_.clock().MonotonicNs() - begin_ns) / 1e9;
  const double wanted = static_cast<double>(report.bytes) / 100'000;
  EXPECT_GT(report.bytes, 900'000u);
  EXPECT_LE(seconds, wanted);
  // What was read last is not waited for.
  EXPECT_GE(seconds, wanted - 2.0 * kPackBytes / 100'000);
  EXPECT_EQ(report.seconds, static_cast<uint64_t>(seconds));
}

TEST_F(ScrubSimTest, AskedForNonsense) {
  for (const char* text : {"", "1", "rate=", "rate=0", "rate=-1", "rate=5M", "rate=5,stop", "Start",
                           "rate=99999999999999999999"})
    EXPECT_EQ(scrubber().AskFor(text).os_errno(), EINVAL) << text;
}

TEST_F(ScrubSimTest, AStopEndsIt) {
  for (int i = 0; i < 10; ++i) Save("f" + std::to_string(i), random_.Bytes(90'000));
  ASSERT_TRUE(Scrub().clean());
  const ScrubReport before = scrubber().Progress().last;
  store_.clock().Advance(1'000'000'000);
  ASSERT_TRUE(scrubber().AskFor("rate=100000").ok());
  store_.DuringScrubWait([this] { ASSERT_TRUE(scrubber().AskFor("stop").ok()); });
  const ScrubReport report = Scrub();
  EXPECT_THAT(report.error, HasSubstr("stopped"));
  EXPECT_LT(report.bytes, before.bytes / 2);
  // It is not kept.
  Store();
  store_.ProcessDeath();
  store_.DuringScrubWait(nullptr);
  Open();
  EXPECT_EQ(scrubber().Progress().last.counts(), before.counts());
}

TEST_F(ScrubSimTest, OneIsJoinedByWhoAsksWhileItRuns) {
  ASSERT_TRUE(scrubber().AskFor("start").ok());
  ASSERT_TRUE(scrubber().AskFor("rate=5000").ok());
  EXPECT_EQ(scrubber().Progress().asked, 1u);
  EXPECT_EQ(scrubber().Progress().rate_bytes, 5000u);
  ASSERT_TRUE(scrubber().AskFor("stop").ok());
  ASSERT_TRUE(scrubber().AskFor("start").ok());
  EXPECT_EQ(scrubber().Progress().asked, 2u);
}

// Whatever a disk's error hits, it is told, and no healthy file is called damaged for it.
TEST_F(ScrubSimTest, EachCallFails) {
  for (int i = 0; i < 3; ++i) Save("f" + std::to_string(i), random_.Bytes(90'000));
  Scrub();
  const uint64_t calls_before = store_.disk().call_count();
  ASSERT_TRUE(Scrub().clean());
  const uint64_t calls = store_.disk().call_count() - calls_before;
  ASSERT_GT(calls, 10u);
  for (uint64_t n = 0; n < calls && !HasFailure(); ++n) {
    SCOPED_TRACE("call " + std::to_string(n));
    store_.disk().FailCall(store_.disk().call_count() + n, EIO);
    const ScrubReport report = Scrub();
    EXPECT_EQ(report.damaged_chunks, 0u);
    if (!store_.parts().committer().CommitNow().ok()) {  // it was a flush: all is fenced
      store_.ProcessDeath();
      Open();
    }
  }
}

// Files come and go, collections move their chunks and remove packs, in every wait.
TEST_F(ScrubSimTest, BesideWritersAndCollections) {
  const auto change = [this] {
    for (int i = 0; i < 2; ++i) {
      const std::string name = "f" + std::to_string(random_.Below(8));
      if (random_.Chance(1, 3)) {
        (void)live().RemoveFile(Caller{}, kRootNode, name);
      } else {
        Save(name, random_.Bytes(random_.Between(1, 60'000)));
      }
    }
    CollectOptions options;
    options.thorough = true;
    EXPECT_EQ(store_.parts().collector().Run(options).error, "");
  };
  ASSERT_TRUE(live()
                  .SetXattr(Caller{}, kRootNode, "user.varve.keep", AsBytes(std::string("none")), 0)
                  .ok());
  for (int i = 0; i < 8; ++i) Save("f" + std::to_string(i), random_.Bytes(60'000));
  uint64_t waits = 0;
  for (uint64_t round = 0; round < TestRounds(10) && !HasFailure(); ++round) {
    store_.DuringScrubWait([&] {
      // Not in what a change itself may cause, and not without an end.
      if (++waits % 2 == 0 && waits < (round + 1) * 40) change();
    });
    ASSERT_TRUE(scrubber().AskFor("rate=1000000").ok());
    const ScrubReport report = Scrub();
    EXPECT_EQ(report.error, "");
    EXPECT_TRUE(report.clean()) << ScrubReportJson(report);
    EXPECT_GT(report.chunks, 0u);
  }
  EXPECT_GT(waits, 20u);
}

}  // namespace
}  // namespace varve
