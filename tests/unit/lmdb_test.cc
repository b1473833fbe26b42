// What LMDB adds to the contract of a KeyValueStore: files, limits and damage.
#include <gtest/gtest.h>
#include <sched.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <map>
#include <string>
#include <vector>

#include "index/lmdb_check.h"
#include "index/lmdb_store.h"
#include "tests/support/seed.h"
#include "tests/support/temp_dir.h"

namespace varve {
namespace {

using testing::Random;
using testing::TempDir;
using testing::TestSeed;

namespace fs = std::filesystem;

std::unique_ptr<KeyValueStore> OpenOrDie(const std::string& path, LmdbOptions options = {}) {
  Result<std::unique_ptr<KeyValueStore>> opened = OpenLmdbStore(path, options);
  EXPECT_TRUE(opened.ok()) << opened.status().ToString();
  return opened.ok() ? std::move(opened).value() : nullptr;
}

std::vector<Batch::Change> Numbered(int begin, int end, size_t value_bytes) {
  std::vector<Batch::Change> changes;
  for (int i = begin; i < end; ++i)
    changes.push_back({"k" + std::to_string(1000000 + i), std::string(value_bytes, 'v')});
  return changes;
}

int CountRows(KeyValueStore& store, Status* outcome = nullptr) {
  int rows = 0;
  const Status scanned = store.Scan("", "", [&](auto, auto) {
    ++rows;
    return true;
  });
  if (outcome != nullptr) {
    *outcome = scanned;
  } else {
    EXPECT_TRUE(scanned.ok()) << scanned.ToString();
  }
  return rows;
}

std::string ReadWhole(const std::string& path) {
  std::ifstream file(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(file), {}};
}

TEST(LmdbTest, MakesItsDirectoryAndKeepsItsRows) {
  const TempDir directory;
  const std::string path = directory / "index";
  OpenOrDie(path)->Write({{"a", "1"}}).ok();
  struct stat attributes {};
  ASSERT_EQ(::stat(path.c_str(), &attributes), 0);
  EXPECT_EQ(attributes.st_mode & 0777, 0700u);
  const auto store = OpenOrDie(path);
  EXPECT_EQ(*store->Get("a"), "1");
}

TEST(LmdbTest, OpeningWhatIsNotThereReadOnlyFails) {
  const TempDir directory;
  const auto opened = OpenLmdb(directory / "index", true);
  EXPECT_EQ(opened.status().code(), Code::kNotFound) << opened.status().ToString();
  EXPECT_FALSE(fs::exists(directory / "index"));
}

TEST(LmdbTest, AReadOnlyOneRefusesToWrite) {
  const TempDir directory;
  ASSERT_TRUE(OpenOrDie(directory / "index")->Write({{"a", "1"}}).ok());
  LmdbOptions options;
  options.read_only = true;
  const auto store = OpenOrDie(directory / "index", options);
  EXPECT_EQ(*store->Get("a"), "1");
  EXPECT_FALSE(store->Write({{"b", "1"}}).ok());
  EXPECT_EQ(CountRows(*store), 1);
}

TEST(LmdbTest, TwoStoresLiveInOneProcess) {
  const TempDir directory;
  const auto first = OpenOrDie(directory / "first");
  const auto second = OpenOrDie(directory / "second");
  ASSERT_TRUE(first->Write({{"a", "1"}}).ok());
  ASSERT_TRUE(second->Write({{"a", "2"}}).ok());
  EXPECT_EQ(*first->Get("a"), "1");
  EXPECT_EQ(*second->Get("a"), "2");
}

TEST(LmdbTest, AFullMapIsNoSpaceAndChangesNothing) {
  const TempDir directory;
  LmdbOptions options;
  options.map_bytes = 1 << 20;
  const auto store = OpenOrDie(directory / "index", options);
  ASSERT_TRUE(store->Write(Numbered(0, 100, 1000)).ok());
  EXPECT_EQ(store->Write(Numbered(100, 2000, 1000)).code(), Code::kNoSpace);
  EXPECT_EQ(CountRows(*store), 100);
  // It goes on afterwards; what is deleted makes room.
  std::vector<Batch::Change> deletes = Numbered(0, 90, 0);
  for (Batch::Change& change : deletes) change.value.reset();
  ASSERT_TRUE(store->Write(deletes).ok());
  ASSERT_TRUE(store->Write(Numbered(200, 250, 1000)).ok());
  EXPECT_EQ(CountRows(*store), 60);
}

// A cursor that is gone, or a lookup, must not keep old pages from being used again.
TEST(LmdbTest, ParkedReadersPinNoPages) {
  const TempDir directory;
  const auto store = OpenOrDie(directory / "index");
  ASSERT_TRUE(store->Write(Numbered(0, 2000, 200)).ok());
  const auto churn = [&] {
    for (int i = 0; i < 60; ++i) {
      ASSERT_TRUE(store->Get("k1000000").ok());
      ASSERT_EQ(CountRows(*store), 2000);
      ASSERT_TRUE(store->Write(Numbered(0, 2000, 200)).ok());
    }
  };
  churn();
  const uint64_t settled = store->Bytes();
  churn();
  EXPECT_EQ(store->Bytes(), settled);
  // The proof that this measures something: an open cursor does pin them.
  const auto cursor = store->OpenCursor("");
  churn();
  EXPECT_GT(store->Bytes(), 4 * settled);
}

TEST(LmdbTest, ManyReadersAtOnce) {
  const TempDir directory;
  const auto store = OpenOrDie(directory / "index");
  ASSERT_TRUE(store->Write({{"a", "1"}}).ok());
  std::vector<std::unique_ptr<KeyValueStore::Cursor>> cursors;
  Status last;
  for (int i = 0; i < 2000 && last.ok(); ++i) {
    auto cursor = store->OpenCursor("");
    last = cursor.status();
    if (cursor.ok()) cursors.push_back(std::move(cursor).value());
  }
  EXPECT_GE(cursors.size(), 1000u);
  EXPECT_EQ(last.code(), Code::kBusy);
  cursors.clear();
  EXPECT_EQ(*store->Get("a"), "1");
}

TEST(LmdbTest, ACreationThatWasCutOffIsRepeated) {
  for (const size_t bytes : {size_t{0}, size_t{1}, size_t{4096}, size_t{8192}}) {
    const TempDir directory;
    ASSERT_TRUE(fs::create_directory(directory / "index"));
    std::ofstream(directory / "index/data.mdb") << std::string(bytes, '\0');
    const auto store = OpenOrDie(directory / "index");
    ASSERT_TRUE(store) << bytes;
    EXPECT_TRUE(store->Write({{"a", "1"}}).ok());
  }
}

TEST(LmdbTest, WhatIsNoLmdbIsCorrupt) {
  const TempDir directory;
  ASSERT_TRUE(fs::create_directory(directory / "index"));
  std::ofstream(directory / "index/data.mdb") << std::string(100000, 'x');
  EXPECT_EQ(OpenLmdb(directory / "index").status().code(), Code::kCorrupt);
  EXPECT_EQ(fs::file_size(directory / "index/data.mdb"), 100000u) << "it is left as it was";
}

TEST(LmdbTest, ADecayedValueIsCorruptAndNotAWrongAnswer) {
  const TempDir directory;
  const std::string value = "a value that is easy to find in the file";
  const auto store = OpenOrDie(directory / "index");
  ASSERT_TRUE(store->Write({{"key", value}}).ok());
  const std::string data = directory / "index/data.mdb";
  const std::string bytes = ReadWhole(data);
  std::fstream file(data, std::ios::in | std::ios::out | std::ios::binary);
  size_t found = 0;
  for (size_t at = bytes.find(value); at != std::string::npos; at = bytes.find(value, at + 1)) {
    file.seekp(static_cast<std::streamoff>(at + 7)).put('?');
    ++found;
  }
  file.close();
  ASSERT_GT(found, 0u);
  EXPECT_EQ(store->Get("key").status().code(), Code::kCorrupt);
  Status scanned;
  CountRows(*store, &scanned);
  EXPECT_EQ(scanned.code(), Code::kCorrupt);
  EXPECT_EQ(OpenLmdb(directory / "index").status().code(), Code::kCorrupt);
}

// Damage is reported when the file is opened, and what is not reported harms nothing: all rows
// are there, and what is written afterwards leaves a sound file.
TEST(LmdbTest, AnyDamageIsReportedOrHarmless) {
  Random random(TestSeed());
  const TempDir directory;
  {
    const auto store = OpenOrDie(directory / "index");
    ASSERT_TRUE(store->Write(Numbered(0, 3000, 100)).ok());
    ASSERT_TRUE(store->Write(Numbered(1000, 4000, 100)).ok());
    ASSERT_TRUE(store->Write(Numbered(4000, 4020, 9000)).ok());
  }
  const std::string data = directory / "index/data.mdb";
  const std::string whole = ReadWhole(data);
  const uint64_t rounds = testing::TestRounds(200);
  uint64_t reported = 0;
  for (uint64_t round = 0; round < rounds; ++round) {
    std::string damaged = whole;
    const uint64_t kind = random.Below(4);
    const size_t at = random.Below(damaged.size());
    // Two pages alone are what a power cut may leave of a new one (volume.cc knows better).
    if (kind == 0) damaged.resize(std::max<size_t>(at, 3 * 4096));
    if (kind == 1)
      std::fill_n(damaged.begin() + static_cast<ptrdiff_t>(at),
                  std::min<size_t>(512, damaged.size() - at), 0);
    // Its metadata and the heads of its pages are what LMDB follows.
    if (kind == 2)
      damaged[random.Below(2) * 4096 + random.Below(256)] ^=
          static_cast<char>(1 << random.Below(8));
    if (kind == 3)
      damaged[at / 4096 * 4096 + random.Below(64)] ^= static_cast<char>(1 << random.Below(8));
    std::ofstream(data, std::ios::binary) << damaged;
    const Result<std::unique_ptr<KeyValueStore>> store = OpenLmdb(directory / "index");
    if (!store.ok()) {
      EXPECT_TRUE(store.status().code() == Code::kCorrupt ||
                  store.status().code() == Code::kUnsupported)
          << store.status().ToString();
      ++reported;
      continue;
    }
    EXPECT_EQ(CountRows(**store), 4020);
    EXPECT_TRUE((*store)->Write(Numbered(500, 2500, 50)).ok());
    EXPECT_EQ(CountRows(**store), 4020);
    EXPECT_TRUE(CheckLmdbFile(data).ok()) << CheckLmdbFile(data).ToString();
  }
  EXPECT_GT(reported, rounds / 4);
}

// Splits, merges, large values and their removal, and pages that are used again.
TEST(LmdbTest, WhatLmdbWritesIsInOrder) {
  Random random(TestSeed());
  const TempDir directory;
  const auto store = OpenOrDie(directory / "index");
  for (uint64_t round = 0; round < testing::TestRounds(150); ++round) {
    std::map<std::string, Batch::Change> changes;
    const uint64_t at = random.Below(5000), count = random.Below(400);
    for (uint64_t i = at; i < at + count; ++i) {
      Batch::Change change{std::string(1 + random.Below(300), 'k') + std::to_string(i), {}};
      const size_t bytes = random.Below(20) == 0 ? random.Below(100000) : random.Below(600);
      if (random.Below(2) == 0) change.value = std::string(bytes, 'v');
      changes.emplace(change.key, change);
    }
    if (round % 20 == 19)
      for (int i = 1; i <= 300; ++i)
        for (uint64_t k = at; k < at + 20; ++k) {
          const std::string key = std::string(static_cast<size_t>(i), 'k') + std::to_string(k);
          changes[key] = {key, {}};
        }
    std::vector<Batch::Change> ordered;
    for (auto& [key, change] : changes) ordered.push_back(std::move(change));
    ASSERT_TRUE(store->Write(ordered).ok());
    const Status checked = CheckLmdbFile(directory / "index/data.mdb");
    ASSERT_TRUE(checked.ok()) << round << ": " << checked.ToString();
  }
}

// On a disk of its own, which needs the right to mount one. Runs in a child process,
// whose mounts nobody else sees and end with it. Returns what is wrong, as exit code.
int FillDiskInChild(const std::string& path) {
  constexpr int kSkip = 77;
  if (::unshare(CLONE_NEWNS) != 0 || ::mount("", "/", nullptr, MS_REC | MS_PRIVATE, nullptr) != 0 ||
      ::mount("tmpfs", path.c_str(), "tmpfs", 0, "size=4m") != 0)
    return kSkip;
  std::ofstream(path + "/filler") << std::string(2 << 20, 'f');
  auto store = OpenLmdb(path + "/index");
  if (!store.ok()) return 1;
  int rows = 0;
  Status written;
  for (; written.ok(); rows += 200) written = (*store)->Write(Numbered(rows, rows + 200, 500));
  rows -= 200;
  if (written.code() != Code::kNoSpace) return 2;
  if ((*store)->Write(Numbered(rows, rows + 200, 500)).code() != Code::kNoSpace) return 3;
  if (CountRows(**store) != rows) return 4;
  ::unlink((path + "/filler").c_str());
  if (!(*store)->Write(Numbered(rows, rows + 200, 500)).ok()) return 5;
  return CountRows(**store) == rows + 200 ? 0 : 6;
}

TEST(LmdbTest, AFullDiskIsNoSpaceAndWritingGoesOnWhenThereIsRoom) {
  const TempDir directory;
  const pid_t child = ::fork();
  ASSERT_GE(child, 0);
  if (child == 0) ::_exit(FillDiskInChild(directory.path()));
  int outcome = 0;
  ASSERT_EQ(::waitpid(child, &outcome, 0), child);
  ASSERT_TRUE(WIFEXITED(outcome));
  if (WEXITSTATUS(outcome) == 77) GTEST_SKIP() << "needs the right to mount";
  EXPECT_EQ(WEXITSTATUS(outcome), 0);
}

}  // namespace
}  // namespace varve
