// The delta: an ordered map that remembers every change by its sequence number.
#include "index/delta.h"

#include <gtest/gtest.h>

#include <atomic>
#include <map>
#include <optional>
#include <string>
#include <thread>
#include <vector>

#include "tests/support/seed.h"

namespace varve {
namespace {

using testing::Random;
using testing::TestSeed;

using Rows = std::map<std::string, std::optional<std::string>>;

Rows Walk(const Delta& delta, uint64_t sequence, std::string_view begin = "") {
  Rows rows;
  std::string last;
  for (Delta::Cursor cursor(delta, sequence, begin); cursor.valid(); cursor.Next()) {
    EXPECT_TRUE(rows.empty() || last < cursor.key()) << "not ascending, or not distinct";
    last = cursor.key();
    rows.emplace(cursor.key(), cursor.value());
  }
  return rows;
}

TEST(DeltaTest, AnEmptyOneHasNothingAndTakesNoMemory) {
  const Delta delta;
  EXPECT_FALSE(delta.Find("a", 100).found);
  EXPECT_EQ(Walk(delta, 100), Rows());
  EXPECT_EQ(delta.keys(), 0u);
  EXPECT_EQ(delta.bytes(), 0u);
}

TEST(DeltaTest, FindsTheNewestChangeUpToASequence) {
  Delta delta;
  delta.Add(1, "a", "one");
  delta.Add(3, "a", std::nullopt);
  delta.Add(5, "a", "");
  EXPECT_FALSE(delta.Find("a", 0).found);
  EXPECT_EQ(delta.Find("a", 1).value, "one");
  EXPECT_EQ(delta.Find("a", 2).value, "one");
  EXPECT_TRUE(delta.Find("a", 3).found);
  EXPECT_EQ(delta.Find("a", 4).value, std::nullopt);
  EXPECT_EQ(delta.Find("a", 9).value, "");
  EXPECT_FALSE(delta.Find("", 9).found);
  EXPECT_FALSE(delta.Find("aa", 9).found);
  EXPECT_EQ(delta.keys(), 1u);
}

TEST(DeltaTest, OfOneSequenceTheLaterChangeWins) {
  Delta delta;
  delta.Add(1, "a", "first");
  delta.Add(1, "a", "second");
  delta.Add(1, "b", "first");
  delta.Add(1, "b", std::nullopt);
  EXPECT_EQ(delta.Find("a", 1).value, "second");
  EXPECT_EQ(delta.Find("b", 1).value, std::nullopt);
  EXPECT_EQ(Walk(delta, 1), (Rows{{"a", "second"}, {"b", std::nullopt}}));
  EXPECT_EQ(delta.keys(), 2u);
}

TEST(DeltaTest, KeysSortAsUnsignedBytes) {
  Delta delta;
  delta.Add(1, "\xff", "high");
  delta.Add(2, "a", "middle");
  delta.Add(3, std::string_view("\0", 1), "low");
  Delta::Cursor cursor(delta, 3, "");
  EXPECT_EQ(cursor.value(), "low");
  cursor.Next();
  EXPECT_EQ(cursor.value(), "middle");
  cursor.Next();
  EXPECT_EQ(cursor.value(), "high");
  cursor.Next();
  EXPECT_FALSE(cursor.valid());
}

TEST(DeltaTest, ARowThatIsRewrittenAllTheTimeIsSkippedAsOne) {
  Delta delta;
  for (uint64_t sequence = 1; sequence <= 10000; ++sequence)
    delta.Add(sequence, "hot", std::to_string(sequence));
  delta.Add(10001, "last", "1");
  EXPECT_EQ(Walk(delta, 10001), (Rows{{"hot", "10000"}, {"last", "1"}}));
  EXPECT_EQ(Walk(delta, 5000), (Rows{{"hot", "5000"}}));
  EXPECT_EQ(delta.keys(), 2u);
}

TEST(DeltaTest, EqualsAMapAtEverySequence) {
  Random random(TestSeed());
  Delta delta;
  std::vector<Rows> history(1);
  for (uint64_t sequence = 1; sequence <= 400; ++sequence) {
    Rows rows = history.back();
    for (uint64_t i = random.Below(4); i > 0; --i) {
      const std::string key = "k" + std::to_string(random.Below(80));
      std::optional<std::string> value;
      if (random.Chance(2, 3))
        value = random.Bytes(random.Below(random.Chance(1, 20) ? 100000 : 40));
      delta.Add(sequence, key, value);
      rows[key] = value;
    }
    history.push_back(rows);
  }
  for (int probe = 0; probe < 100; ++probe) {
    const uint64_t sequence = random.Below(history.size());
    const Rows& rows = history[sequence];
    ASSERT_EQ(Walk(delta, sequence), rows);
    const std::string key = "k" + std::to_string(random.Below(90));
    const Delta::Lookup found = delta.Find(key, sequence);
    const auto row = rows.find(key);
    ASSERT_EQ(found.found, row != rows.end());
    if (found.found) {
      ASSERT_EQ(found.value, row->second);
    }
    ASSERT_EQ(Walk(delta, sequence, key), Rows(rows.lower_bound(key), rows.end()));
  }
  EXPECT_EQ(delta.keys(), history.back().size());
}

// Readers see every change of a sequence number that was announced, at any time.
TEST(DeltaTest, ReadersNeedNoLock) {
  Delta delta;
  std::atomic<uint64_t> announced = 0;
  std::atomic<int> failures = 0;
  constexpr uint64_t kLast = 20000;
  std::vector<std::thread> readers;
  for (int reader = 0; reader < 2; ++reader) {
    readers.emplace_back([&] {
      uint64_t sequence = 0;
      while (sequence < kLast) {
        sequence = announced.load(std::memory_order_acquire);
        if (sequence == 0) continue;
        const std::string key = std::to_string(sequence * 7919 % 1000);
        const Delta::Lookup found = delta.Find(key, sequence);
        if (!found.found || found.value != std::to_string(sequence)) ++failures;
        Delta::Cursor cursor(delta, sequence, key);
        for (int i = 0; i < 20 && cursor.valid(); ++i) {
          if (std::stoull(std::string(*cursor.value())) > sequence) ++failures;
          cursor.Next();
        }
      }
    });
  }
  for (uint64_t sequence = 1; sequence <= kLast; ++sequence) {
    delta.Add(sequence, std::to_string(sequence * 7919 % 1000), std::to_string(sequence));
    announced.store(sequence, std::memory_order_release);
  }
  for (std::thread& reader : readers) reader.join();
  EXPECT_EQ(failures, 0);
}

}  // namespace
}  // namespace varve
