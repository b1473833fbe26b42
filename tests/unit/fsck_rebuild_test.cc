// What fsck does with damage outside of the index's rows: packs, staging files, the
// superblock, and an index that is gone.

#include <gtest/gtest.h>

#include <filesystem>

#include "tests/support/fsck_fixture.h"
#include "tests/support/random.h"

namespace varve {
namespace {

namespace fs = std::filesystem;
using testing::ColdBytes;
using testing::FsckFixture;
using testing::HotBytes;
using testing::StoreEditor;
using testing::StoreSession;
using testing::TempDir;

class FsckStoreTest : public FsckFixture {
 protected:
  std::string PackPath(uint32_t pack) const {
    char name[32];
    std::snprintf(name, sizeof(name), "/packs/%08x.pack", pack);
    return store_ + name;
  }
  ChunkLocation PlaceOf(const std::string& path) {
    StoreEditor editor(store_);
    return *editor.Location(editor.FirstChunkKey(path));
  }
  void Flip(const std::string& file, uint64_t offset) {
    std::FILE* stream = std::fopen(file.c_str(), "r+b");
    ASSERT_NE(stream, nullptr) << file;
    std::fseek(stream, static_cast<long>(offset), SEEK_SET);
    const int byte = std::fgetc(stream);
    std::fseek(stream, static_cast<long>(offset), SEEK_SET);
    std::fputc(byte ^ 0x55, stream);
    std::fclose(stream);
  }
  void LoseIndex() {
    fs::remove_all(store_ + "/index");
    fs::remove_all(store_ + "/log");
  }
};

TEST_F(FsckStoreTest, ASoundStoreIsClean) {
  FsckOptions options;
  options.verify_data = true;
  const FsckReport report = Check(options);
  EXPECT_TRUE(report.clean()) << Text(report);
  EXPECT_EQ(report.inodes, 9u);
  EXPECT_EQ(report.directories, 3u);
  EXPECT_EQ(report.names, 9u);
  EXPECT_GT(report.chunks, 3u);
  EXPECT_GT(report.journals, 0u);
  const FsckReport repaired = Check(Repair());
  EXPECT_TRUE(repaired.clean()) << Text(repaired);
}

TEST_F(FsckStoreTest, WhatADeadDaemonLeavesIsNoDamage) {
  const std::string pending = testing::Random(3).Bytes(300'000);
  std::string cold = ColdBytes();
  {
    StoreSession session(store_);
    session.Write("pending", pending);
    session.WriteAt("cold", 1000, "changed", /*close=*/false);
    session.WriteAt("hot", 5, "changed", /*close=*/false);
    session.Remove("v");
  }
  for (const bool repair : {false, true}) {
    FsckOptions options;
    options.repair = repair;
    const FsckReport report = Check(options);
    EXPECT_TRUE(report.clean()) << Text(report);
    EXPECT_NE(Text(report).find("wait in staging files"), std::string::npos) << Text(report);
    EXPECT_NE(Text(report).find("were being written"), std::string::npos) << Text(report);
  }
  StoreSession session(store_);
  ExpectBytes(session, "pending", pending);
  ExpectBytes(session, "cold", cold.replace(1000, 7, "changed"));
}

TEST_F(FsckStoreTest, AStagingFileIsGone) {
  StageId stage = 0;
  {
    StoreSession session(store_);
    session.Write("v", "fourth");
    session.Write("fresh", "fresh");
  }
  for (const char* path : {"v", "fresh"}) {
    {
      StoreEditor editor(store_);
      stage = editor.StageOf(path);
    }
    char name[64];
    std::snprintf(name, sizeof(name), "/stage/%02x/%016llx", static_cast<unsigned>(stage % 64),
                  static_cast<unsigned long long>(stage));
    ASSERT_TRUE(fs::remove(store_ + name));
  }
  FindAndRepair("of /v is gone, and it is not stored yet");
  StoreSession session(store_);
  ExpectBytes(session, "v", "third");
  EXPECT_EQ(*session.GetXattr("fresh", "user.varve.complete"), "0");
}

TEST_F(FsckStoreTest, AnOverlayThatLostItsBase) {
  {
    StoreSession session(store_);
    session.WriteAt("cold", 1000, "changed");
  }
  {
    StoreEditor editor(store_);
    editor.Delete(key::Extent(editor.Content("cold"), key::kBaseShown));
  }
  FindAndRepair("the bytes of /cold are lost");
  StoreSession session(store_);
  ExpectIoError(session, "cold");
  ExpectBytes(session, ".varve/versions/cold/0001", ColdBytes());
}

TEST_F(FsckStoreTest, OverlappingExtents) {
  {
    StoreSession session(store_);
    session.WriteAt("cold", 1000, "changed");
  }
  {
    StoreEditor editor(store_);
    editor.Put(key::FreshExtent(editor.Content("cold"), 1003), EncodeOffset(1007));
  }
  FindAndRepair("the extents of /cold overlap");
  StoreSession session(store_);
  ExpectBytes(session, "cold", std::string(ColdBytes()).replace(1000, 7, "changed"));
}

TEST_F(FsckStoreTest, AChunkIsDamaged) {
  const ChunkLocation place = PlaceOf("cold");
  Flip(PackPath(place.pack), place.offset_bytes + 64 + 1000);
  FindAndRepair("payload does not match its hash", /*verify_data=*/true);
  {
    StoreSession session(store_);
    ExpectIoError(session, "cold");
    const size_t rest = ColdBytes().size() - place.raw_bytes;
    const Result<std::string> read = session.ReadAt("cold", place.raw_bytes, rest);
    ASSERT_TRUE(read.ok()) << read.status().ToString();
    EXPECT_TRUE(*read == ColdBytes().substr(place.raw_bytes));
    EXPECT_EQ(*session.GetXattr(".varve/versions/cold/0001", "user.varve.complete"), "0");
    // The same bytes, written again, are what it lacks.
    session.Write("again", ColdBytes());
    session.Drain();
    ExpectBytes(session, "cold", ColdBytes());
  }
  const FsckReport report = Check(Repair());
  EXPECT_TRUE(report.clean()) << Text(report);
  StoreSession session(store_);
  EXPECT_EQ(*session.GetXattr("cold", "user.varve.complete"), "1");
}

TEST_F(FsckStoreTest, APackIsGone) {
  fs::remove(PackPath(PlaceOf("cold").pack));
  FindAndRepair("is gone, and with it");
  StoreSession session(store_);
  ExpectIoError(session, "cold");
  ExpectBytes(session, "hot", HotBytes());
  session.Write("cold", "new");
  session.Drain();
  ExpectBytes(session, "cold", "new");
}

TEST_F(FsckStoreTest, AHotCopyIsGoneAndNobodyIsHurt) {
  fs::remove_all(store_ + "/stage");
  const FsckReport report = Check();
  EXPECT_TRUE(report.clean()) << Text(report);
  EXPECT_NE(Text(report).find("the hot copy of /hot is gone"), std::string::npos) << Text(report);
  EXPECT_TRUE(Check(Repair()).clean());
  EXPECT_TRUE(Check().notes.empty());
  StoreSession session(store_);
  ExpectBytes(session, "hot", HotBytes());
}

TEST_F(FsckStoreTest, TheSuperblock) {
  const std::string path = store_ + "/superblock";
  fs::remove(path);
  EXPECT_EQ(OpenFails().code(), Code::kCorrupt);
  FindAndRepair("the superblock is missing or damaged");
  Flip(path, 30);
  EXPECT_EQ(OpenFails().code(), Code::kCorrupt);
  FindAndRepair("the superblock is missing or damaged");
  Flip(path + ".copy", 30);
  FindAndRepair("superblock.copy is missing or damaged");
  Flip(path, 30);
  Flip(path + ".copy", 30);
  const Result<FsckReport> report = CheckStore(store_, Repair());
  EXPECT_EQ(report.status().code(), Code::kCorrupt);
}

TEST_F(FsckStoreTest, WithoutItsIndexAStoreIsNotMounted) {
  LoseIndex();
  EXPECT_NE(OpenFails().context().find("--rebuild-index"), std::string::npos);
  const Result<FsckReport> report = CheckStore(store_, Repair());
  ASSERT_EQ(report.status().code(), Code::kCorrupt);
  EXPECT_NE(report.status().context().find("--rebuild-index"), std::string::npos);
}

TEST_F(FsckStoreTest, TheIndexIsMadeAnewFromThePacks) {
  const auto before = [this] { return StoreSession(store_).Describe(); }();
  FsckOptions options;
  options.rebuild_index = true;
  LoseIndex();
  FsckReport report = Check(options);
  EXPECT_EQ(report.damages, 1u) << Text(report);  // that the index was gone
  EXPECT_EQ(StoreSession(store_).Describe(), before);

  // What comes after a rebuild is newer than all that was before it.
  std::map<std::string, std::string> later;
  {
    StoreSession session(store_);
    session.Write("v", "fourth");
    session.Rename("dir/g", "g");
    session.SetXattr("v", "user.loss", "0.5");
    session.Drain();
    later = session.Describe();
  }
  report = Check(options);
  EXPECT_TRUE(report.clean()) << Text(report);
  EXPECT_TRUE(fs::exists(store_ + "/index.old-1"));
  EXPECT_EQ(StoreSession(store_).Describe(), later);
  LoseIndex();
  Check(options);
  EXPECT_EQ(StoreSession(store_).Describe(), later);
  EXPECT_TRUE(Check().clean());
}

TEST_F(FsckStoreTest, WhatWasPendingIsPendingAfterARebuild) {
  std::map<std::string, std::string> before;
  {
    StoreSession session(store_);
    session.Write("pending", std::string(200'000, 'p'));
    session.WriteAt("cold", 1000, "changed");
    before = session.Describe();
  }
  LoseIndex();
  FsckOptions options;
  options.rebuild_index = true;
  EXPECT_EQ(Check(options).damages, 1u);
  StoreSession session(store_);
  EXPECT_EQ(session.Describe(), before);
  session.Drain();
  ExpectBytes(session, "cold", std::string(ColdBytes()).replace(1000, 7, "changed"));
}

TEST_F(FsckStoreTest, ADamagedIndexSaysWhatToDo) {
  {
    StoreSession session(store_);
    for (int i = 0; i < 500; ++i) session.Write("f" + std::to_string(i), "x");
    session.Drain();
  }
  const auto before = [this] { return StoreSession(store_).Describe(); }();
  const uint64_t size = fs::file_size(store_ + "/index/data.mdb");
  for (uint64_t offset = 3 * 4096 + 20; offset < size; offset += 4096)
    Flip(store_ + "/index/data.mdb", offset);
  const Result<FsckReport> report = CheckStore(store_, Repair());
  ASSERT_EQ(report.status().code(), Code::kCorrupt) << report.status().ToString();
  EXPECT_NE(report.status().context().find("--rebuild-index"), std::string::npos);
  FsckOptions options;
  options.rebuild_index = true;
  EXPECT_TRUE(Check(options).clean());
  EXPECT_EQ(StoreSession(store_).Describe(), before);
}

TEST_F(FsckStoreTest, AStoreInUseIsRefusedByName) {
  const StoreSession session(store_);
  const Result<FsckReport> report = CheckStore(store_, {});
  EXPECT_EQ(report.status().code(), Code::kBusy);
  EXPECT_NE(report.status().context().find("/test"), std::string::npos);
}

TEST_F(FsckStoreTest, WhatIsNoStoreStaysAsItIs) {
  const TempDir empty;
  EXPECT_EQ(CheckStore(empty.path(), {}).status().code(), Code::kInvalid);
  EXPECT_TRUE(fs::is_empty(empty.path()));
  EXPECT_EQ(CheckStore(empty / "nothing", {}).status().os_errno(), ENOENT);
}

}  // namespace
}  // namespace varve
