// What every KeyValueStore promises: LMDB and the one in memory.
#include <gtest/gtest.h>

#include <atomic>
#include <map>
#include <memory>
#include <thread>
#include <vector>

#include "index/catalog.h"
#include "tests/support/memory_key_value_store.h"
#include "tests/support/seed.h"
#include "tests/support/temp_dir.h"

namespace varve {
namespace {

using testing::MemoryKeyValueStore;
using testing::Random;
using testing::TempDir;
using testing::TestSeed;

enum class Kind { kLmdb, kMemory };

class KeyValueStoreTest : public ::testing::TestWithParam<Kind> {
 protected:
  KeyValueStoreTest() { Open(); }

  void Open() {
    store_.reset();
    if (GetParam() == Kind::kMemory) {
      store_ = std::make_unique<MemoryKeyValueStore>();
      return;
    }
    Result<std::unique_ptr<KeyValueStore>> opened = OpenLmdb(directory_ / "index");
    ASSERT_TRUE(opened.ok()) << opened.status().ToString();
    store_ = std::move(opened).value();
  }

  std::optional<std::string> Get(std::string_view key) {
    const Result<std::optional<std::string>> got = store_->Get(key);
    EXPECT_TRUE(got.ok()) << got.status().ToString();
    return got.ok() ? *got : std::nullopt;
  }
  void Write(const std::vector<Batch::Change>& changes) {
    const Status written = store_->Write(changes);
    ASSERT_TRUE(written.ok()) << written.ToString();
  }
  std::map<std::string, std::string> Rows(std::string_view begin, std::string_view end) {
    std::map<std::string, std::string> rows;
    std::string last;
    const Status scanned = store_->Scan(begin, end, [&](auto key, auto value) {
      EXPECT_TRUE(rows.empty() || last < key) << "not in ascending order";
      last = key;
      rows.emplace(key, value);
      return true;
    });
    EXPECT_TRUE(scanned.ok()) << scanned.ToString();
    return rows;
  }

  TempDir directory_;
  std::unique_ptr<KeyValueStore> store_;
};

using Map = std::map<std::string, std::string>;

TEST_P(KeyValueStoreTest, EmptyStoreHasNothing) {
  EXPECT_EQ(Get("a"), std::nullopt);
  EXPECT_EQ(Rows("", ""), Map());
  EXPECT_TRUE(store_->Write({}).ok());
}

TEST_P(KeyValueStoreTest, StoresReplacesAndDeletes) {
  Write({{"a", "1"}, {"b", ""}, {"c", "3"}});
  EXPECT_EQ(Get("a"), "1");
  EXPECT_EQ(Get("b"), "");
  EXPECT_EQ(Get("ab"), std::nullopt);
  Write({{"a", "2"}, {"c", std::nullopt}, {"d", std::nullopt}});
  EXPECT_EQ(Rows("", ""), (Map{{"a", "2"}, {"b", ""}}));
}

TEST_P(KeyValueStoreTest, ScansHalfOpenRanges) {
  Write({{"a", "1"}, {"b", "2"}, {"ba", "3"}, {"c", "4"}});
  EXPECT_EQ(Rows("b", "c"), (Map{{"b", "2"}, {"ba", "3"}}));
  EXPECT_EQ(Rows("aa", ""), (Map{{"b", "2"}, {"ba", "3"}, {"c", "4"}}));
  EXPECT_EQ(Rows("b", "b"), Map());
  EXPECT_EQ(Rows("d", ""), Map());
  int visited = 0;
  EXPECT_TRUE(store_->Scan("", "", [&](auto, auto) { return ++visited < 2; }).ok());
  EXPECT_EQ(visited, 2);
}

TEST_P(KeyValueStoreTest, KeysAreBytesAndSortUnsigned) {
  const std::string zero("k\0x", 3);
  const std::string high("k\xff", 2);
  Write({{zero, "low"}, {"ka", "middle"}, {high, "high"}});
  EXPECT_EQ(Get(zero), "low");
  EXPECT_EQ(Rows("ka", ""), (Map{{"ka", "middle"}, {high, "high"}}));
}

TEST_P(KeyValueStoreTest, HoldsTheLargestKeysAndValues) {
  const std::string key(400, 'k');
  const std::string value(128 << 10, 'v');
  Write({{key, value}});
  EXPECT_EQ(Get(key), value);
}

TEST_P(KeyValueStoreTest, CursorSeesTheStateOfItsOpening) {
  Write({{"a", "1"}, {"b", "1"}});
  Result<std::unique_ptr<KeyValueStore::Cursor>> cursor = store_->OpenCursor("");
  ASSERT_TRUE(cursor.ok());
  Write({{"a", "2"}, {"aa", "2"}, {"b", std::nullopt}});
  EXPECT_EQ((*cursor)->key(), "a");
  EXPECT_EQ((*cursor)->value(), "1");
  ASSERT_TRUE((*cursor)->Next().ok());
  EXPECT_EQ((*cursor)->key(), "b");
  ASSERT_TRUE((*cursor)->Next().ok());
  EXPECT_FALSE((*cursor)->valid());
  EXPECT_EQ(Rows("", ""), (Map{{"a", "2"}, {"aa", "2"}}));
}

TEST_P(KeyValueStoreTest, EqualsAMapUnderRandomWrites) {
  Random random(TestSeed());
  Map model;
  for (int round = 0; round < 60; ++round) {
    std::map<std::string, Batch::Change> changes;
    for (uint64_t i = random.Below(40); i > 0; --i) {
      const std::string key = "k" + std::to_string(random.Below(300));
      Batch::Change change{key, std::nullopt};
      if (random.Chance(3, 4)) change.value = random.Bytes(random.Below(3000));
      if (change.value) {
        model[key] = *change.value;
      } else {
        model.erase(key);
      }
      changes[key] = change;
    }
    std::vector<Batch::Change> ordered;
    for (const auto& [key, change] : changes) ordered.push_back(change);
    Write(ordered);
    if (GetParam() == Kind::kLmdb && random.Chance(1, 10)) Open();
    ASSERT_EQ(Rows("", ""), model) << "round " << round;
    const std::string probe = "k" + std::to_string(random.Below(300));
    ASSERT_EQ(Get(probe), model.contains(probe) ? std::optional(model[probe]) : std::nullopt);
  }
  EXPECT_GT(store_->Bytes(), 0u);
}

// A write is seen as a whole by every reader, and readers go on while one is under way.
TEST_P(KeyValueStoreTest, ReadersSeeWholeWrites) {
  std::atomic<bool> stop = false;
  std::vector<std::thread> readers;
  std::atomic<int> torn = 0;
  Write({{"x", "0"}, {"y", "0"}});
  for (int i = 0; i < 3; ++i) {
    readers.emplace_back([&] {
      while (!stop) {
        std::vector<std::string> values;
        const Status scanned = store_->Scan("", "", [&](auto, auto value) {
          values.emplace_back(value);
          return true;
        });
        if (!scanned.ok() || values.size() != 2 || values[0] != values[1]) ++torn;
        const Result<std::optional<std::string>> got = store_->Get("x");
        if (!got.ok() || !*got) ++torn;
      }
    });
  }
  for (int i = 1; i <= 100; ++i) Write({{"x", std::to_string(i)}, {"y", std::to_string(i)}});
  stop = true;
  for (std::thread& reader : readers) reader.join();
  EXPECT_EQ(torn, 0);
}

INSTANTIATE_TEST_SUITE_P(All, KeyValueStoreTest, ::testing::Values(Kind::kLmdb, Kind::kMemory),
                         [](const auto& param) {
                           return param.param == Kind::kLmdb ? "Lmdb" : "Memory";
                         });

}  // namespace
}  // namespace varve
