// What a catalog promises, over each KeyValueStore and a real disk.
#include "index/catalog.h"

#include <gtest/gtest.h>

#include <atomic>
#include <chrono>
#include <map>
#include <memory>
#include <thread>
#include <vector>

#include "store/base/posix_disk.h"
#include "tests/support/memory_key_value_store.h"
#include "tests/support/seed.h"
#include "tests/support/temp_dir.h"

namespace varve {
namespace {

using testing::MemoryKeyValueStore;
using testing::Random;
using testing::TempDir;
using testing::TestSeed;

using Map = std::map<std::string, std::string>;

Batch Puts(const Map& rows) {
  Batch batch;
  for (const auto& [key, value] : rows) batch.Put(key, value);
  return batch;
}
Batch Deletes(const std::vector<std::string>& keys) {
  Batch batch;
  for (const std::string& key : keys) batch.Delete(key);
  return batch;
}

enum class Kind { kLmdb, kMemory };

class CatalogTest : public ::testing::TestWithParam<Kind> {
 protected:
  CatalogTest() {
    disk_ = PosixDisk::Open(directory_.path()).value();
    if (GetParam() == Kind::kMemory) {
      store_ = std::make_unique<MemoryKeyValueStore>();
    } else {
      store_ = OpenLmdb(directory_ / "index").value();
    }
    Reopen();
  }

  Status TryOpen(CatalogOptions options = {}) {
    catalog_.reset();
    Result<std::unique_ptr<Catalog>> opened = OpenCatalog(*store_, *disk_, "log", options);
    if (!opened.ok()) return opened.status();
    catalog_ = std::move(opened).value();
    return {};
  }
  void Reopen(CatalogOptions options = {}) {
    const Status opened = TryOpen(options);
    ASSERT_TRUE(opened.ok()) << opened.ToString();
  }
  void Apply(const Batch& batch) {
    const Status applied = catalog_->Apply(batch);
    ASSERT_TRUE(applied.ok()) << applied.ToString();
  }
  void Commit() {
    const Status committed = catalog_->Commit(nullptr);
    ASSERT_TRUE(committed.ok()) << committed.ToString();
  }
  std::optional<std::string> Get(std::string_view key) {
    const Result<std::optional<std::string>> got = catalog_->Get(key);
    EXPECT_TRUE(got.ok()) << got.status().ToString();
    return got.ok() ? *got : std::nullopt;
  }
  Map Rows(std::string_view begin = "", std::string_view end = "") {
    Map rows;
    std::string last;
    const Status scanned = catalog_->Scan(begin, end, [&](auto key, auto value) {
      EXPECT_LT(last, key) << "not in ascending order";
      last = key;
      rows.emplace(key, value);
      return true;
    });
    EXPECT_TRUE(scanned.ok()) << scanned.ToString();
    return rows;
  }

  TempDir directory_;
  std::unique_ptr<Disk> disk_;
  std::unique_ptr<KeyValueStore> store_;
  std::unique_ptr<Catalog> catalog_;
};

TEST_P(CatalogTest, ANewOneIsEmptyAndSmall) {
  EXPECT_EQ(Rows(), Map());
  EXPECT_EQ(Get("a"), std::nullopt);
  EXPECT_TRUE(catalog_->SyncLog().ok());
  EXPECT_TRUE(catalog_->Commit(nullptr).ok());
  const CatalogStats stats = catalog_->Stats();
  EXPECT_EQ(stats.applied_sequence, 0u);
  EXPECT_EQ(stats.delta_keys, 0u);
  for (const char* name : {"log/0", "log/1"})
    EXPECT_LE(disk_->Stat(name)->st_size, 256 << 10) << name;
}

TEST_P(CatalogTest, LaterChangesOfABatchWin) {
  Batch batch;
  batch.Put("a", "1");
  batch.Put("a", "2");
  batch.Put("b", "1");
  batch.Delete("b");
  Apply(batch);
  EXPECT_EQ(Rows(), (Map{{"a", "2"}}));
  Commit();
  EXPECT_EQ(Rows(), (Map{{"a", "2"}}));
  Reopen();
  EXPECT_EQ(Rows(), (Map{{"a", "2"}}));
}

TEST_P(CatalogTest, MergesDeltaAndStore) {
  Apply(Puts({{"a", "1"}, {"b", "1"}, {"c", "1"}}));
  Commit();
  Apply(Puts({{"b", "2"}, {"bb", "2"}}));
  Apply(Deletes({"c", "never there"}));
  EXPECT_EQ(Rows(), (Map{{"a", "1"}, {"b", "2"}, {"bb", "2"}}));
  EXPECT_EQ(Rows("b", "bb"), (Map{{"b", "2"}}));
  EXPECT_EQ(Get("c"), std::nullopt);
  EXPECT_EQ(Get("b"), "2");
  Commit();
  EXPECT_EQ(Rows(), (Map{{"a", "1"}, {"b", "2"}, {"bb", "2"}}));
  Apply(Puts({{"c", "3"}}));
  EXPECT_EQ(Get("c"), "3");
}

TEST_P(CatalogTest, RefusesWhatIsBeyondItsLimits) {
  EXPECT_EQ(catalog_->Apply(Puts({{"", "v"}})).code(), Code::kInvalid);
  EXPECT_EQ(catalog_->Apply(Puts({{std::string(401, 'k'), "v"}})).code(), Code::kInvalid);
  EXPECT_EQ(catalog_->Apply(Puts({{std::string("\0k", 2), "v"}})).code(), Code::kInvalid);
  EXPECT_EQ(catalog_->Apply(Puts({{"k", std::string((128 << 10) + 1, 'v')}})).code(),
            Code::kInvalid);
  Batch large;
  for (int i = 0; i < 65; ++i) large.Put("k" + std::to_string(i), std::string(128 << 10, 'v'));
  EXPECT_EQ(catalog_->Apply(large).code(), Code::kInvalid);
  EXPECT_EQ(Rows(), Map());
  Apply(Batch());
  Apply(Puts({{std::string(400, 'k'), std::string(128 << 10, 'v')}}));
  EXPECT_EQ(catalog_->Stats().applied_sequence, 1u);
}

TEST_P(CatalogTest, ApplyOutlivesTheProcess) {
  Map model;
  for (int i = 0; i < 500; ++i) {
    const std::string key = "k" + std::to_string(i * 7919 % 500);
    model[key] = std::to_string(i);
    Apply(Puts({{key, std::to_string(i)}}));
    if (i == 100 || i == 300) Commit();
  }
  Reopen();
  EXPECT_EQ(Rows(), model);
  const CatalogStats stats = catalog_->Stats();
  EXPECT_EQ(stats.applied_sequence, 500u);
  EXPECT_EQ(stats.committed_sequence, 301u);
  EXPECT_EQ(stats.replayed_batches, 199u);
  EXPECT_EQ(stats.synced_sequence, 500u);
}

TEST_P(CatalogTest, OpeningAndClosingChangesNothing) {
  Map model;
  for (int i = 0; i < 40; ++i) {
    const std::string key = "k" + std::to_string(i);
    model[key] = key;
    Apply(Puts({{key, key}}));
    if (i % 7 == 0) Commit();
    Reopen();
    ASSERT_EQ(Rows(), model);
  }
}

TEST_P(CatalogTest, AReadOnlyOneReplaysAndWritesNothing) {
  Apply(Puts({{"a", "1"}}));
  Commit();
  Apply(Puts({{"b", "2"}}));
  CatalogOptions options;
  options.read_only = true;
  for (int i = 0; i < 2; ++i) {
    Reopen(options);
    EXPECT_EQ(Rows(), (Map{{"a", "1"}, {"b", "2"}}));
    EXPECT_EQ(catalog_->Apply(Puts({{"c", "3"}})).code(), Code::kReadOnly);
    EXPECT_EQ(catalog_->SyncLog().code(), Code::kReadOnly);
    EXPECT_EQ(catalog_->Commit(nullptr).code(), Code::kReadOnly);
    EXPECT_EQ(catalog_->Stats().replayed_batches, 1u);
  }
}

TEST_P(CatalogTest, ARebuiltOneGoesOnBehindTheJournals) {
  CatalogOptions options;
  options.sequence_floor = 5000;
  Reopen(options);
  EXPECT_EQ(catalog_->Stats().applied_sequence, 5000u);
  Apply(Puts({{"a", "1"}}));
  Reopen();
  EXPECT_EQ(catalog_->Stats().applied_sequence, 5001u);
  Commit();
  Reopen(options);  // the floor is for stores without a commit
  EXPECT_EQ(catalog_->Stats().applied_sequence, 5001u);
  EXPECT_EQ(Rows(), (Map{{"a", "1"}}));
}

TEST_P(CatalogTest, StatsTellWhatIsSafe) {
  Apply(Puts({{"a", "1"}}));
  Apply(Puts({{"b", "1"}}));
  CatalogStats stats = catalog_->Stats();
  EXPECT_EQ(stats.applied_sequence, 2u);
  EXPECT_EQ(stats.synced_sequence, 0u);
  EXPECT_EQ(stats.delta_keys, 2u);
  ASSERT_TRUE(catalog_->SyncLog().ok());
  EXPECT_EQ(catalog_->Stats().synced_sequence, 2u);
  Apply(Puts({{"c", "1"}}));
  Commit();
  stats = catalog_->Stats();
  EXPECT_EQ(stats.committed_sequence, 3u);
  EXPECT_EQ(stats.synced_sequence, 3u);
  EXPECT_EQ(stats.delta_keys, 0u);
  EXPECT_GT(stats.index_bytes, 0u);
  EXPECT_FALSE(stats.fenced);
}

TEST_P(CatalogTest, TheJournalSeesOrderedDistinctChanges) {
  Apply(Puts({{"b", "1"}, {"c", "1"}}));
  Apply(Puts({{"a", "1"}, {"b", "2"}}));
  Apply(Deletes({"c"}));
  std::vector<std::string> seen;
  uint64_t at = 0;
  const auto journal = [&](uint64_t sequence, const std::vector<Batch::Change>& changes) {
    at = sequence;
    for (const Batch::Change& change : changes)
      seen.push_back(change.key + "=" + change.value.value_or("(deleted)"));
    EXPECT_EQ(catalog_->Stats().synced_sequence, 3u);
    return Status();
  };
  ASSERT_TRUE(catalog_->Commit(journal).ok());
  EXPECT_EQ(at, 3u);
  EXPECT_EQ(seen, (std::vector<std::string>{"a=1", "b=2", "c=(deleted)"}));
  seen.clear();
  ASSERT_TRUE(catalog_->Commit(journal).ok());
  EXPECT_TRUE(seen.empty()) << "nothing to write, nothing to journal";
}

TEST_P(CatalogTest, AFailedJournalKeepsTheChanges) {
  Apply(Puts({{"a", "1"}}));
  const auto full = [](uint64_t, const auto&) { return Status(Code::kNoSpace); };
  EXPECT_EQ(catalog_->Commit(full).code(), Code::kNoSpace);
  EXPECT_EQ(Get("a"), "1");
  Apply(Puts({{"a", "2"}, {"b", "2"}}));
  EXPECT_EQ(catalog_->Commit(full).code(), Code::kNoSpace);
  EXPECT_EQ(Rows(), (Map{{"a", "2"}, {"b", "2"}}));
  EXPECT_EQ(*store_->Get("a"), std::nullopt);

  std::vector<uint64_t> sequences;
  const auto works = [&](uint64_t sequence, const auto&) {
    sequences.push_back(sequence);
    return Status();
  };
  ASSERT_TRUE(catalog_->Commit(works).ok());
  EXPECT_EQ(sequences, (std::vector<uint64_t>{1, 2}));
  EXPECT_EQ(*store_->Get("a"), "2");
  EXPECT_EQ(catalog_->Stats().delta_keys, 0u);
}

TEST_P(CatalogTest, AJournalThatFailsWithAnIoErrorFences) {
  Apply(Puts({{"a", "1"}}));
  const auto broken = [](uint64_t, const auto&) { return Status(Code::kIo); };
  EXPECT_EQ(catalog_->Commit(broken).code(), Code::kIo);
  EXPECT_EQ(catalog_->Apply(Puts({{"b", "1"}})).code(), Code::kReadOnly);
  EXPECT_EQ(catalog_->SyncLog().code(), Code::kReadOnly);
  EXPECT_EQ(catalog_->Commit(nullptr).code(), Code::kReadOnly);
  EXPECT_TRUE(catalog_->Stats().fenced);
  EXPECT_EQ(Rows(), (Map{{"a", "1"}}));
  Reopen();
  EXPECT_EQ(Rows(), (Map{{"a", "1"}}));
  Commit();
}

// Commits are split into several writes; nobody may notice.
TEST_P(CatalogTest, LargeCommits) {
  Map model;
  Batch batch;
  for (int i = 0; i < 30000; ++i) {
    const std::string key = "k" + std::to_string(i * 7919 % 30000);
    model[key] = std::to_string(i);
    batch.Put(key, std::to_string(i));
  }
  Apply(batch);
  Batch wide;
  for (int i = 0; i < 60; ++i) {
    const std::string key = "wide" + std::to_string(i);
    model[key] = std::string(128 << 10, static_cast<char>(i));
    wide.Put(key, model[key]);
  }
  for (int i = 0; i < 3; ++i) Apply(wide);
  EXPECT_EQ(Rows(), model);
  Commit();
  EXPECT_EQ(Rows(), model);
  EXPECT_EQ(catalog_->Stats().delta_keys, 0u);
  Reopen();
  EXPECT_EQ(Rows(), model);
}

TEST_P(CatalogTest, AScanStopsWhereItIsTold) {
  Map model;
  Batch batch;
  for (int i = 0; i < 5000; ++i) batch.Put("k" + std::to_string(10000 + i), "v");
  Apply(batch);
  Commit();
  Batch deletes;
  for (int i = 0; i < 5000; i += 2) deletes.Delete("k" + std::to_string(10000 + i));
  Apply(deletes);
  for (const int stop_after : {1, 1023, 1024, 1025, 2500, 9999}) {
    int visited = 0;
    ASSERT_TRUE(catalog_->Scan("k", "l", [&](auto, auto) { return ++visited < stop_after; }).ok());
    EXPECT_EQ(visited, std::min(stop_after, 2500));
  }
  EXPECT_EQ(Rows("k10001", "k10004").size(), 2u);
}

// A small log makes the writers wait for the committer, and nothing is lost.
TEST_P(CatalogTest, ApplyWaitsForACommitWhenTheLogIsFull) {
  CatalogOptions options;
  options.log_bytes_max = 16 << 10;
  Reopen(options);
  EXPECT_EQ(catalog_->Apply(Puts({{"k", std::string(16 << 10, 'v')}})).code(), Code::kInvalid);
  std::atomic<int> writing = 2;
  std::vector<std::thread> writers;
  for (int writer = 0; writer < 2; ++writer) {
    writers.emplace_back([&, writer] {
      for (int i = 0; i < 300; ++i) {
        const std::string key = std::to_string(writer) + "-" + std::to_string(i);
        EXPECT_TRUE(catalog_->Apply(Puts({{key, std::string(1000, 'v')}})).ok());
      }
      --writing;
    });
  }
  while (writing > 0) {
    EXPECT_TRUE(catalog_->Commit(nullptr).ok());
    std::this_thread::sleep_for(std::chrono::milliseconds(1));
  }
  for (std::thread& writer : writers) writer.join();
  EXPECT_EQ(Rows().size(), 600u);
  Reopen(options);
  EXPECT_EQ(Rows().size(), 600u);
  for (const char* name : {"log/0", "log/1"})
    EXPECT_LE(disk_->Stat(name)->st_size, 256 << 10) << name;
}

TEST_P(CatalogTest, AFullLogBehindAFailedCommitIsNoSpaceAndNotAHang) {
  CatalogOptions options;
  options.log_bytes_max = 16 << 10;
  Reopen(options);
  Apply(Puts({{"first", "1"}}));
  const auto full = [](uint64_t, const auto&) { return Status(Code::kNoSpace); };
  EXPECT_EQ(catalog_->Commit(full).code(), Code::kNoSpace);
  Status applied;
  Map model{{"first", "1"}};
  for (int i = 0; applied.ok() && i < 100; ++i) {
    const std::string key = "k" + std::to_string(i);
    applied = catalog_->Apply(Puts({{key, std::string(1000, 'v')}}));
    if (applied.ok()) model[key] = std::string(1000, 'v');
  }
  EXPECT_EQ(applied.code(), Code::kNoSpace);
  EXPECT_EQ(Rows(), model);
  Commit();
  Apply(Puts({{"k99", "again"}}));
  model["k99"] = "again";
  Reopen(options);
  EXPECT_EQ(Rows(), model);
}

// Readers, writers, flushes and commits together; for the thread sanitizer too.
TEST_P(CatalogTest, EverythingAtOnce) {
  constexpr int kPairs = 20;
  std::atomic<bool> stop = false;
  std::atomic<int> failures = 0;
  Batch first;
  for (int i = 0; i < kPairs; ++i) {
    first.Put("a" + std::to_string(i), "0");
    first.Put("b" + std::to_string(i), "0");
  }
  Apply(first);
  std::vector<std::thread> threads;
  threads.emplace_back([&] {
    while (!stop) failures += catalog_->Commit(nullptr).ok() ? 0 : 1;
  });
  threads.emplace_back([&] {
    while (!stop) failures += catalog_->SyncLog().ok() ? 0 : 1;
  });
  for (int reader = 0; reader < 2; ++reader) {
    threads.emplace_back([&] {
      while (!stop) {
        Map rows;
        const Status scanned = catalog_->Scan("", "", [&](auto key, auto value) {
          rows.emplace(key, value);
          return true;
        });
        if (!scanned.ok() || rows.size() != 2 * kPairs) ++failures;
        for (int i = 0; i < kPairs; ++i) {
          const std::string suffix = std::to_string(i);
          if (rows["a" + suffix] != rows["b" + suffix]) ++failures;  // a torn batch
          const auto got = catalog_->Get("a" + suffix);
          if (!got.ok() || !*got || std::stoi(**got) < std::stoi(rows["a" + suffix])) ++failures;
        }
      }
    });
  }
  for (int i = 1; i < 3000; ++i) {
    const std::string suffix = std::to_string(i % kPairs);
    Apply(Puts({{"a" + suffix, std::to_string(i)}, {"b" + suffix, std::to_string(i)}}));
  }
  stop = true;
  for (std::thread& thread : threads) thread.join();
  EXPECT_EQ(failures, 0);
}

TEST_P(CatalogTest, EqualsAMapUnderRandomOperations) {
  Random random(TestSeed());
  CatalogOptions options;
  options.log_bytes_max = 64 << 10;
  Reopen(options);
  Map model;
  uint64_t uncommitted = 0;
  for (int step = 0; step < 600; ++step) {
    Batch batch;
    for (uint64_t i = random.Between(1, 5); i > 0; --i) {
      const std::string key = "k" + std::to_string(random.Below(60));
      if (random.Chance(1, 4)) {
        batch.Delete(key);
        model.erase(key);
      } else {
        model[key] = random.Bytes(random.Below(400));
        batch.Put(key, model[key]);
      }
    }
    Apply(batch);
    uncommitted += 2500;
    if (uncommitted > (60 << 10) || random.Chance(1, 20)) {
      Commit();
      uncommitted = 0;
    }
    if (random.Chance(1, 10)) {
      ASSERT_TRUE(catalog_->SyncLog().ok());
    }
    if (random.Chance(1, 40)) Reopen(options);
    if (random.Chance(1, 5)) {
      ASSERT_EQ(Rows(), model) << "step " << step;
    }
    const std::string probe = "k" + std::to_string(random.Below(60));
    ASSERT_EQ(Get(probe), model.contains(probe) ? std::optional(model[probe]) : std::nullopt);
  }
}

INSTANTIATE_TEST_SUITE_P(All, CatalogTest, ::testing::Values(Kind::kLmdb, Kind::kMemory),
                         [](const auto& param) {
                           return param.param == Kind::kLmdb ? "Lmdb" : "Memory";
                         });

}  // namespace
}  // namespace varve
