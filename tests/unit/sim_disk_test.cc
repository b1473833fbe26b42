// The fault model that tests/support/sim_disk.h states.
#include "tests/support/sim_disk.h"

#include <fcntl.h>
#include <gtest/gtest.h>

#include <functional>
#include <map>
#include <set>

#include "tests/support/seed.h"

namespace varve::testing {
namespace {

constexpr uint64_t kSector = 512;
constexpr uint64_t kSeeds = 200;

#define ASSERT_OK(expression)                        \
  do {                                               \
    const Status status_ = (expression);             \
    ASSERT_TRUE(status_.ok()) << status_.ToString(); \
  } while (false)

std::unique_ptr<File> Open(SimDisk& disk, const std::string& path,
                           OpenMode mode = OpenMode::kCreate) {
  auto file = disk.Open(path, mode);
  EXPECT_TRUE(file.ok()) << file.status().ToString();
  return file.ok() ? std::move(file).value() : nullptr;
}

Status Write(SimDisk& disk, const std::string& path, uint64_t offset, std::string_view bytes,
             bool sync = false) {
  const auto file = Open(disk, path);
  RETURN_IF_ERROR(file->WriteAt(offset, AsBytes(bytes)));
  return sync ? file->SyncData() : Status();
}

// The content, or "-" if there is no such file.
std::string Content(SimDisk& disk, const std::string& path) {
  auto content = ReadFile(disk, path, 1 << 20);
  return content.ok() ? *content : "-";
}

// What `look` sees after power cuts with many seeds.
std::map<std::string, int> Outcomes(SimDisk& disk,
                                    const std::function<std::string(SimDisk&)>& look) {
  std::map<std::string, int> outcomes;
  for (uint64_t seed = 0; seed < kSeeds; ++seed) {
    const auto copy = disk.Copy();
    copy->PowerCut(seed);
    ++outcomes[look(*copy)];
  }
  return outcomes;
}

TEST(SimDiskTest, WhatIsSyncedSurvivesEveryPowerCut) {
  SimDisk disk;
  ASSERT_OK(Write(disk, "a", 0, "synced", true));
  ASSERT_OK(disk.SyncDirectory("."));
  const auto outcomes = Outcomes(disk, [](SimDisk& after) { return Content(after, "a"); });
  EXPECT_EQ(outcomes, (std::map<std::string, int>{{"synced", kSeeds}}));
}

TEST(SimDiskTest, ReplaceFileIsAtomicAndDurable) {
  SimDisk disk;
  const std::string before(1000, 'b');
  const std::string after_it(3000, 'a');
  ASSERT_OK(ReplaceFile(disk, "f", AsBytes(before)));
  const uint64_t first = disk.change_count();
  for (uint64_t step = 0;; ++step) {
    const auto trial = disk.Copy();
    trial->CrashAt(first + step);
    const Status replaced = ReplaceFile(*trial, "f", AsBytes(after_it));
    for (uint64_t seed = 0; seed < 20; ++seed) {
      const auto copy = trial->Copy();
      copy->PowerCut(seed);
      const std::string content = Content(*copy, "f");
      EXPECT_TRUE(content == after_it || (!replaced.ok() && content == before)) << step;
    }
    if (replaced.ok()) break;
    ASSERT_LT(step, 100U);
  }
}

TEST(SimDiskTest, UnsyncedSectorsAreOldOrNewEachForItself) {
  SimDisk disk;
  ASSERT_OK(Write(disk, "a", 0, std::string(4 * kSector, 'o'), true));
  ASSERT_OK(disk.SyncDirectory("."));
  ASSERT_OK(Write(disk, "a", 0, std::string(4 * kSector, 'n')));
  const auto outcomes = Outcomes(disk, [](SimDisk& after) {
    const std::string content = Content(after, "a");
    EXPECT_EQ(content.size(), 4 * kSector);
    std::string seen;
    for (uint64_t at = 0; at < content.size(); at += kSector) {
      seen += content[at];
      EXPECT_EQ(content.substr(at, kSector), std::string(kSector, content[at]));
    }
    return seen;
  });
  EXPECT_EQ(outcomes.size(), 16U);
}

TEST(SimDiskTest, UnsyncedSizeIsOldOrNewOrBetween) {
  SimDisk disk;
  ASSERT_OK(Write(disk, "a", 0, std::string(100, 'o'), true));
  ASSERT_OK(disk.SyncDirectory("."));
  ASSERT_OK(Write(disk, "a", 100, std::string(900, 'n')));
  bool between = false;
  const auto outcomes = Outcomes(disk, [&between](SimDisk& after) {
    const size_t size = Content(after, "a").size();
    EXPECT_GE(size, 100U);
    EXPECT_LE(size, 1000U);
    between = between || (size != 100 && size != 1000);
    return std::to_string(size);
  });
  EXPECT_TRUE(between);
  EXPECT_GT(outcomes.at("100"), 0);
  EXPECT_GT(outcomes.at("1000"), 0);
}

TEST(SimDiskTest, ASyncedFileWithoutASyncedNameMayBeLost) {
  SimDisk disk;
  ASSERT_OK(Write(disk, "a", 0, "synced", true));
  const auto outcomes = Outcomes(disk, [](SimDisk& after) { return Content(after, "a"); });
  EXPECT_EQ(outcomes.size(), 2U);
  EXPECT_GT(outcomes.at("-"), 0);
  EXPECT_GT(outcomes.at("synced"), 0);
}

TEST(SimDiskTest, ADirectoryNeedsItsParentSynced) {
  SimDisk disk;
  ASSERT_OK(disk.MakeDirectory("d"));
  ASSERT_OK(Write(disk, "d/a", 0, "synced", true));
  ASSERT_OK(disk.SyncDirectory("d"));
  const auto look = [](SimDisk& after) { return Content(after, "d/a"); };
  EXPECT_EQ(Outcomes(disk, look).size(), 2U);
  ASSERT_OK(disk.SyncDirectory("."));
  EXPECT_EQ(Outcomes(disk, look), (std::map<std::string, int>{{"synced", kSeeds}}));
}

TEST(SimDiskTest, RenamesAreWholeOrNotAtAll) {
  SimDisk disk;
  ASSERT_OK(disk.MakeDirectory("d"));
  ASSERT_OK(Write(disk, "a", 0, "A", true));
  ASSERT_OK(Write(disk, "d/b", 0, "B", true));
  ASSERT_OK(disk.SyncDirectory("d"));
  ASSERT_OK(disk.SyncDirectory("."));
  ASSERT_OK(disk.Rename("a", "d/b"));
  ASSERT_OK(Write(disk, "a", 0, "C", true));
  ASSERT_OK(Write(disk, "e", 0, "E", true));
  const auto look = [](SimDisk& after) {
    return Content(after, "a") + Content(after, "d/b") + Content(after, "e");
  };
  const auto outcomes = Outcomes(disk, look);
  // The new "a" needs the rename that freed its name; "e" depends on neither.
  const std::set<std::string> kPossible = {"AB-", "ABE", "-A-", "-AE", "CA-", "CAE"};
  for (const auto& [outcome, count] : outcomes) EXPECT_EQ(kPossible.count(outcome), 1U) << outcome;
  EXPECT_EQ(outcomes.size(), kPossible.size());
  // Syncing one of the two directories makes the whole rename durable.
  ASSERT_OK(disk.SyncDirectory("d"));
  for (const auto& [outcome, count] : Outcomes(disk, look)) {
    EXPECT_EQ(outcome.substr(1, 1), "A") << outcome;
  }
}

TEST(SimDiskTest, ProcessDeathKeepsAllAndEndsOpenFiles) {
  SimDisk disk;
  const std::string epoch = disk.PowerEpoch();
  auto file = Open(disk, "a");
  ASSERT_OK(file->WriteAt(0, AsBytes("written")));
  disk.ProcessDeath();
  EXPECT_EQ(disk.PowerEpoch(), epoch);
  EXPECT_EQ(file->WriteAt(0, AsBytes("x")).code(), Code::kIo);
  EXPECT_EQ(file->SyncData().code(), Code::kIo);
  EXPECT_FALSE(file->LeaseHolds());
  EXPECT_EQ(Content(disk, "a"), "written");
  ASSERT_OK(Open(disk, "a", OpenMode::kRead)->AcquireLease());  // the dead writer does not count
  disk.PowerCut(1);
  EXPECT_NE(disk.PowerEpoch(), epoch);
}

TEST(SimDiskTest, CallsFailOnceAsTold) {
  SimDisk disk;
  auto file = Open(disk, "a");
  ASSERT_OK(file->WriteAt(0, AsBytes("xxxx")));
  disk.FailCall(disk.call_count() + 1, EIO);
  ASSERT_OK(file->Truncate(4));
  const Status failed = file->WriteAt(0, AsBytes("yyyy"));
  EXPECT_EQ(failed.os_errno(), EIO);
  EXPECT_NE(failed.context().find("write a"), std::string_view::npos);
  EXPECT_EQ(Content(disk, "a"), "yyxx");  // a part of it
  disk.FailCall(disk.call_count(), ENOSPC);
  EXPECT_EQ(disk.MakeDirectory("d").code(), Code::kNoSpace);
  EXPECT_EQ(disk.Stat("d").status().code(), Code::kNotFound);
  disk.FailCall(disk.call_count(), EMFILE);
  EXPECT_EQ(disk.Open("a", OpenMode::kRead).status().os_errno(), EMFILE);
}

TEST(SimDiskTest, AFailedSyncIsNotMadeGoodByALaterOne) {
  SimDisk disk;
  ASSERT_OK(Write(disk, "a", 0, std::string(kSector, 'o'), true));
  ASSERT_OK(disk.SyncDirectory("."));
  auto file = Open(disk, "a");
  ASSERT_OK(file->WriteAt(0, AsBytes(std::string(kSector, 'n'))));
  disk.FailCall(disk.call_count(), EIO);
  EXPECT_EQ(file->SyncData().code(), Code::kIo);
  ASSERT_OK(file->SyncData());
  const auto look = [](SimDisk& after) { return Content(after, "a").substr(0, 1); };
  EXPECT_EQ(Outcomes(disk, look).size(), 2U);
  ASSERT_OK(file->WriteAt(0, AsBytes(std::string(kSector, 'm'))));
  ASSERT_OK(file->SyncData());
  EXPECT_EQ(Outcomes(disk, look), (std::map<std::string, int>{{"m", kSeeds}}));
}

TEST(SimDiskTest, NothingWorksAfterACrashUntilTheMachineIsBack) {
  SimDisk disk;
  std::set<std::string> contents;
  for (uint64_t n = 0; n < 30; ++n) {
    auto file = Open(disk, "a");
    ASSERT_OK(file->Truncate(0));
    ASSERT_OK(file->WriteAt(0, AsBytes("oldold")));
    disk.CrashAt(disk.change_count());
    EXPECT_EQ(file->WriteAt(0, AsBytes("newnew")).code(), Code::kIo);
    EXPECT_TRUE(disk.crashed());
    EXPECT_EQ(disk.Stat("a").status().code(), Code::kIo);
    EXPECT_EQ(disk.Open("a", OpenMode::kRead).status().code(), Code::kIo);
    disk.ProcessDeath();
    EXPECT_FALSE(disk.crashed());
    contents.insert(Content(disk, "a"));
  }
  EXPECT_EQ(contents, (std::set<std::string>{"oldold", "newold", "newnew"}));
}

TEST(SimDiskTest, AFullDiskRefusesWithoutAChange) {
  SimDisk disk;
  disk.SetCapacity(8 * 4096);
  ASSERT_OK(Write(disk, "a", 0, std::string(6 * 4096, 'x')));
  EXPECT_EQ(disk.used_bytes(), 6U * 4096);
  EXPECT_EQ(disk.Space()->f_bavail, 2U);
  EXPECT_EQ(Write(disk, "b", 0, std::string(3 * 4096, 'x')).code(), Code::kNoSpace);
  EXPECT_EQ(Content(disk, "b"), "");
  ASSERT_OK(Write(disk, "a", 0, std::string(6 * 4096, 'y')));  // takes no more
  auto file = Open(disk, "b");
  EXPECT_EQ(file->Allocate(0, 0, 3 * 4096).code(), Code::kNoSpace);
  EXPECT_EQ(file->CopyFrom(*Open(disk, "a"), 0, 0, 3 * 4096).status().code(), Code::kNoSpace);
  ASSERT_OK(file->Allocate(0, 0, 2 * 4096));
  ASSERT_OK(disk.Remove("b"));
  EXPECT_EQ(disk.used_bytes(), 8U * 4096);  // still open
  file.reset();
  EXPECT_EQ(disk.used_bytes(), 6U * 4096);
  ASSERT_OK(Open(disk, "a")->Allocate(FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, 0, 4096));
  EXPECT_EQ(disk.used_bytes(), 5U * 4096);
  ASSERT_OK(disk.Rename("a", "c"));
  EXPECT_EQ(disk.used_bytes(), 5U * 4096);
  disk.ProcessDeath();
  EXPECT_EQ(disk.used_bytes(), 5U * 4096);
  ASSERT_OK(disk.Remove("c"));
  EXPECT_EQ(disk.used_bytes(), 0U);
}

TEST(SimDiskTest, DirectFilesMustBeAligned) {
  SimDisk disk;
  auto file = disk.Open("a", OpenMode::kCreate, {.direct = true});
  ASSERT_TRUE(file.ok());
  alignas(512) static uint8_t buffer[1024];
  EXPECT_EQ((*file)->WriteAt(0, {buffer + 1, 512}).code(), Code::kInvalid);
  EXPECT_EQ((*file)->WriteAt(100, {buffer, 512}).code(), Code::kInvalid);
  EXPECT_EQ((*file)->WriteAt(0, {buffer, 100}).code(), Code::kInvalid);
  EXPECT_TRUE((*file)->WriteAt(512, {buffer, 1024}).ok());
}

TEST(SimDiskTest, TheSameSeedGivesTheSameDisk) {
  SimDisk disk;
  Random random(TestSeed());
  for (int i = 0; i < 20; ++i) {
    const std::string name = "f" + std::to_string(random.Below(8));
    ASSERT_OK(Write(disk, name, random.Below(5000), random.Bytes(random.Below(5000)),
                    random.Chance(1, 3)));
    if (random.Chance(1, 4)) ASSERT_OK(disk.SyncDirectory("."));
  }
  const auto all = [](SimDisk& after) {
    std::string seen;
    for (const std::string& name : *after.List(".")) seen += name + ":" + Content(after, name);
    return seen;
  };
  const auto one = disk.Copy();
  const auto two = disk.Copy();
  const uint64_t seed = random.Next();
  one->PowerCut(seed);
  two->PowerCut(seed);
  EXPECT_EQ(all(*one), all(*two));
  const std::string settled = all(*one);
  one->PowerCut(seed + 1);  // nothing is pending any more
  EXPECT_EQ(all(*one), settled);
}

}  // namespace
}  // namespace varve::testing
