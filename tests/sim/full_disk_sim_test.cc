// A disk on which nothing is free, not even what the ballast held: what was removed is
// collected all the same, and what was acknowledged is stored.
#include <fcntl.h>
#include <gtest/gtest.h>

#include <map>
#include <memory>
#include <string>
#include <vector>

#include "fs/core/open_file.h"
#include "store/base/log.h"
#include "tests/support/core_dump.h"
#include "tests/support/random.h"
#include "tests/support/seed.h"
#include "tests/support/sim_store.h"

namespace varve {
namespace {

using testing::Random;
using testing::SimStore;
using testing::TestRounds;
using testing::TestSeed;

constexpr int64_t kSecond = 1'000'000'000;
constexpr uint64_t kDiskBytes = 24 << 20;
constexpr uint64_t kFileBytes = 200 << 10;
constexpr size_t kReadMax = 64 << 20;
const Caller kRoot{};

class FullDiskSim : public ::testing::Test {
 protected:
  void SetUp() override {
    ASSERT_TRUE(InitLog({LogLevel::kError, false, "", false}).ok());
    store_ = std::make_unique<SimStore>(
        SimStore::Options{.hot_bytes_max = 1, .pack_bytes = 512 << 10, .disk_bytes = kDiskBytes});
    ASSERT_TRUE(store_->Open().ok());
  }
  void TearDown() override { EXPECT_TRUE(InitLog(LogOptions()).ok()); }

  void OpenStore(uint64_t disk_bytes) {
    store_ = std::make_unique<SimStore>(
        SimStore::Options{.hot_bytes_max = 1, .pack_bytes = 512 << 10, .disk_bytes = disk_bytes});
    ASSERT_TRUE(store_->Open().ok());
  }
  uint64_t FreeBytes() {
    const auto space = store_->disk().Space();
    return static_cast<uint64_t>(space->f_bavail) * space->f_frsize;
  }
  StoreParts& parts() { return store_->parts(); }
  LiveNodes& live() { return parts().live(); }

  // Until the disk is full: what was acknowledged of `size`.
  std::string Write(const std::string& name, uint64_t size) {
    const auto created = live().Create(kRoot, kRootNode, name, S_IFREG | 0644, O_WRONLY);
    if (!created.ok()) return "";
    const NodeId node = created->entry.node;
    std::string bytes = random_.Bytes(size);
    constexpr uint64_t kStep = 64 << 10;
    for (uint64_t at = 0; at < size; at += kStep) {
      const std::string_view part = std::string_view(bytes).substr(at, kStep);
      if (!live().Write(node, created->opened.handle, at, AsBytes(part), false).ok())
        bytes.resize(at);
      if (bytes.size() < size) break;
    }
    (void)live().Flush(node, created->opened.handle);
    live().Release(node, created->opened.handle);
    live().Forget(node, 1000);
    return bytes;
  }
  void Store() {
    store_->clock().Advance(kSecond);
    parts().digester().RunReady();
    (void)parts().committer().CommitNow();  // so every pack has journals
  }
  // False once the disk is full.
  bool Save(const std::string& name) {
    files_[name] = Write(name, kFileBytes);
    Store();
    return files_[name].size() == kFileBytes;
  }
  void Fill() {
    EXPECT_TRUE(live().SetXattr(kRoot, kRootNode, "user.varve.keep", AsBytes("none"), 0).ok());
    while (Save("f" + std::to_string(next_++))) continue;
    TakeTheRest();
  }
  // Somebody else does.
  void TakeTheRest() {
    const auto others = store_->disk().Open("others", OpenMode::kCreate);
    ASSERT_TRUE(others.ok());
    const auto size = static_cast<uint64_t>((*others)->Stat()->st_size);
    if (FreeBytes() > 0) {
      const Status taken = (*others)->Allocate(0, size, FreeBytes());
      ASSERT_TRUE(taken.ok()) << taken.ToString();
    }
    ASSERT_EQ(FreeBytes(), 0u);
  }
  void GiveBack() { ASSERT_TRUE(store_->disk().Remove("others").ok()); }
  // One of `share`, or all.
  void RemoveAllBut(uint64_t share) {
    std::vector<std::string> names;
    for (const auto& [name, bytes] : files_)
      if (share == 0 || !random_.Chance(1, share)) names.push_back(name);
    for (const std::string& name : names) {
      const auto node = live().Lookup(kRoot, kRootNode, name);
      files_.erase(name);
      if (!node.ok()) continue;
      const Status removed = live().RemoveFile(kRoot, kRootNode, name);
      ASSERT_TRUE(removed.ok()) << removed.ToString();
      live().Forget(node->node, 1000);
    }
    live().RemoveForgotten();
  }
  CollectReport Collect() {
    store_->clock().Advance(kSecond);
    parts().digester().RunReady();
    const CollectReport report = parts().collector().Run({.thorough = true});
    EXPECT_EQ(report.error, "");
    return report;
  }
  void Check() {
    for (const auto& [name, bytes] : files_) {
      const auto node = live().Lookup(kRoot, kRootNode, name);
      if (!node.ok() && bytes.empty()) continue;
      ASSERT_TRUE(node.ok()) << name << node.status().ToString();
      const auto opened = live().Open(kRoot, node->node, O_RDONLY);
      ASSERT_TRUE(opened.ok()) << name << opened.status().ToString();
      const auto read = testing::ReadAll(live(), node->node, opened->handle, kReadMax);
      ASSERT_TRUE(read.ok()) << name << read.status().ToString();
      EXPECT_TRUE(*read == bytes) << name;
      live().Release(node->node, opened->handle);
      live().Forget(node->node, 1000);
    }
    EXPECT_EQ(store_->Fsck(/*verify=*/true), "");
  }

  Random random_{TestSeed()};
  std::unique_ptr<SimStore> store_;
  std::map<std::string, std::string> files_;
  int next_ = 0;
};

TEST_F(FullDiskSim, WhatWasRemovedIsCollected) {
  Fill();
  ASSERT_GT(files_.size(), 20u);
  RemoveAllBut(0);
  EXPECT_GT(Collect().packs.packs, 0u);
  EXPECT_GT(FreeBytes(), kDiskBytes / 2);
  EXPECT_TRUE(Save("new"));
  Check();
}

TEST_F(FullDiskSim, PacksThatAreHalfEmptyAreCollected) {
  Fill();
  const uint64_t files = files_.size();
  RemoveAllBut(2);
  Collect();
  EXPECT_GT(FreeBytes(), (files - files_.size()) * kFileBytes * 3 / 4);
  Check();
}

TEST_F(FullDiskSim, OverAndOverWithDeaths) {
  for (uint64_t round = 0; round < TestRounds(3); ++round) {
    SCOPED_TRACE(round);
    Fill();
    if (random_.Chance(1, 2)) {
      store_->ProcessDeath();
      const Status opened = store_->Open();
      ASSERT_TRUE(opened.ok()) << opened.ToString();
      TakeTheRest();
    }
    Check();
    RemoveAllBut(2 + random_.Below(5));
    Collect();
    EXPECT_GT(FreeBytes(), files_.size() * kFileBytes < kDiskBytes / 2 ? kDiskBytes / 4 : 1);
    Check();
    GiveBack();
    if (random_.Chance(1, 2)) {
      Store();
      store_->ProcessDeath();
      ASSERT_TRUE(store_->Open().ok());
    }
    Check();
  }
}

TEST_F(FullDiskSim, APowerCutLeavesAStoreThatOpens) {
  for (uint64_t round = 0; round < TestRounds(5); ++round) {
    SCOPED_TRACE(round);
    Fill();
    // What was not stored may be torn.
    for (int i = 0; i < 5; ++i) files_.erase("f" + std::to_string(next_ - 1 - i));
    store_->PowerCut(random_.Below(UINT32_MAX));
    const Status opened = store_->Open();
    ASSERT_TRUE(opened.ok()) << opened.ToString();
    TakeTheRest();
    RemoveAllBut(4);
    Collect();
    Check();
    GiveBack();
  }
}

TEST_F(FullDiskSim, WhatIsPendingIsStored) {
  OpenStore(10 * kDiskBytes);
  files_["big"] = Write("big", 12 << 20);
  TakeTheRest();
  for (int i = 0; i < 10; ++i) {  // the ballast goes, and is taken as well
    store_->clock().Advance(kSecond);
    parts().digester().RunReady();
    (void)parts().committer().CommitNow();
    if (i < 3) TakeTheRest();
  }
  EXPECT_EQ(parts().digester().Pending().files, 0u) << parts().digester().last_error();
  Check();
}

}  // namespace
}  // namespace varve
