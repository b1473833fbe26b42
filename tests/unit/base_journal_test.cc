// Base journals: which journals count, and that they give the index again.

#include <gtest/gtest.h>

#include <atomic>
#include <string>
#include <thread>
#include <vector>

#include "fs/core/journal.h"
#include "tests/support/journal_world.h"
#include "tests/support/pack_fixture.h"

namespace varve {
namespace {

using testing::JournalWorld;
using testing::PackFixture;
using testing::RebuildRows;
using testing::Rebuilt;
using testing::Rows;
using testing::RowsOf;

// Adds records of these labels to one pack, in turn.
JournalSet SetOf(const std::vector<JournalLabel>& labels) {
  JournalSet set;
  uint32_t offset = 64;
  for (const JournalLabel& label : labels) set.Add(1, {label, offset += 64, 10});
  return set;
}

std::vector<JournalLabel> Replayed(const JournalSet& set) {
  std::vector<JournalLabel> labels;
  for (const JournalPlace& place : set.InOrder()) labels.push_back(place.label);
  return labels;
}

using Labels = std::vector<JournalLabel>;

TEST(JournalSetTest, WithoutABaseAllAreReplayedInOrder) {
  const JournalSet set = SetOf({{5}, {3}, {5}, {9}});
  EXPECT_EQ(Replayed(set), (Labels{{3}, {5}, {5}, {9}}));
  EXPECT_EQ(set.newest_sequence(), 9u);
  EXPECT_FALSE(set.base_sequence().has_value());
  EXPECT_TRUE(SetOf({}).InOrder().empty());
}

TEST(JournalSetTest, AWholeBaseSupersedesWhatIsOlder) {
  const JournalSet set = SetOf({{3}, {5, 1, 0}, {7}, {5, 2, 0}, {5}, {5, 3, 3}, {8}});
  EXPECT_EQ(Replayed(set), (Labels{{5, 1, 0}, {5, 2, 0}, {5, 3, 3}, {7}, {8}}));
  EXPECT_EQ(set.base_sequence(), 5u);
  EXPECT_EQ(set.unfinished(), 0u);
}

TEST(JournalSetTest, AnUnfinishedBaseDoesNotCount) {
  for (const Labels& base : {Labels{{5, 1, 0}, {5, 2, 0}},     // no end
                             Labels{{5, 1, 0}, {5, 3, 3}},     // a part is missing
                             Labels{{5, 2, 0}, {5, 3, 3}},     // the first
                             Labels{{5, 1, 0}, {5, 2, 3}},     // another count
                             Labels{{5, 1, 0}, {6, 2, 2}}}) {  // of two bases
    Labels all{{3}, {5}};
    all.insert(all.end(), base.begin(), base.end());
    const JournalSet set = SetOf(all);
    EXPECT_EQ(Replayed(set), (Labels{{3}, {5}}));
    EXPECT_GE(set.unfinished(), 1u);
  }
}

TEST(JournalSetTest, TheNewestWholeOneCounts) {
  // Two attempts at one sequence: their parts are not mixed.
  JournalSet set = SetOf({{5, 1, 0}, {5, 2, 0}, {5, 1, 0}, {5, 2, 2}, {6}});
  EXPECT_EQ(set.InOrder().front().offset_bytes, 64u * 4);
  EXPECT_EQ(Replayed(set), (Labels{{5, 1, 0}, {5, 2, 2}, {6}}));
  EXPECT_EQ(set.unfinished(), 1u);
  set = SetOf({{5, 1, 1}, {9}, {9, 1, 1}, {10}, {10, 1, 0}});
  EXPECT_EQ(Replayed(set), (Labels{{9, 1, 1}, {10}}));
  EXPECT_EQ(set.unfinished(), 1u);
}

class JournalsOfTest : public PackFixture {};

TEST_F(JournalsOfTest, TellsTheLabelsOfAPack) {
  AppendMany(3, 1000, 1);
  ASSERT_TRUE(store_->AppendJournal(7, AsBytes("seven"), RoomFor::kUpkeep).ok());
  ASSERT_TRUE(store_->AppendBaseJournal({7, 1, 0}, AsBytes("a part")).ok());
  ASSERT_TRUE(store_->AppendJournal(9, AsBytes("nine"), RoomFor::kUpkeep).ok());
  ASSERT_TRUE(store_->AppendBaseJournal({7, 2, 2}, {}).ok());
  const Labels expected{{7}, {7, 1, 0}, {9}, {7, 2, 2}};
  std::vector<uint32_t> offsets;
  const auto check = [&] {
    const auto journals = store_->JournalsOf(1);
    ASSERT_TRUE(journals.ok());
    Labels labels;
    std::vector<uint32_t> found;
    for (const JournalInfo& info : *journals) {
      labels.push_back(info.label);
      found.push_back(info.offset_bytes);
    }
    EXPECT_EQ(labels, expected);
    if (!offsets.empty()) {
      EXPECT_EQ(found, offsets);
    }
    offsets = found;
  };
  check();
  ASSERT_TRUE(store_->Seal().ok());
  check();
  // A sealed pack's journals are not read.
  Overwrite(1, offsets[1] + 64, "!!!!");
  check();
  EXPECT_EQ(ScanAll(false).journals.size(), 3u);
  EXPECT_EQ(store_->JournalsOf(2).status().code(), Code::kNotFound);
}

class BaseJournalTest : public ::testing::Test {
 protected:
  void SetUp() override { ASSERT_TRUE(world_.Open().ok()); }
  void Live(int steps) {
    for (int i = 0; i < steps; ++i) {
      ASSERT_TRUE(world_.Change().ok());
      if (i % 3 == 0) {
        ASSERT_TRUE(world_.Commit().ok());
      }
    }
    ASSERT_TRUE(world_.Commit().ok());
  }
  void ExpectRebuilt(std::optional<uint64_t> base) {
    const Result<Rebuilt> rebuilt = RebuildRows(world_.packs());
    ASSERT_TRUE(rebuilt.ok()) << rebuilt.status().ToString();
    EXPECT_EQ(rebuilt->base_sequence, base);
    EXPECT_TRUE(rebuilt->rows == RowsOf(world_.catalog()));
  }

  JournalWorld world_{1};
};

TEST_F(BaseJournalTest, StandsForAllJournalsBefore) {
  Live(60);
  ExpectRebuilt(std::nullopt);
  const uint64_t bytes = world_.packs().Usage().bytes;
  const Result<uint64_t> base = world_.WriteBase();
  ASSERT_TRUE(base.ok());
  ExpectRebuilt(*base);
  ASSERT_TRUE(world_.RemoveOldPacks().ok());
  EXPECT_LT(world_.packs().Usage().bytes, bytes);
  ExpectRebuilt(*base);
  Live(20);
  ExpectRebuilt(*base);
  const Result<uint64_t> second = world_.WriteBase();
  ASSERT_TRUE(second.ok());
  ASSERT_TRUE(world_.RemoveOldPacks().ok());
  Live(5);
  ExpectRebuilt(*second);
}

TEST_F(BaseJournalTest, OfNothing) {
  const Result<uint64_t> base =
      WriteBaseJournal(world_.packs(), world_.catalog(), [] { return Status(); });
  ASSERT_TRUE(base.ok());
  ExpectRebuilt(*base);
}

TEST_F(BaseJournalTest, WithoutItsCommitItDoesNotCount) {
  Live(20);
  ASSERT_TRUE(world_.Change().ok());
  const Result<uint64_t> base = WriteBaseJournal(world_.packs(), world_.catalog(),
                                                 [] { return Status(Code::kNoSpace, "full"); });
  EXPECT_EQ(base.status().code(), Code::kNoSpace);
  ASSERT_TRUE(world_.packs().Sync().ok());
  const Result<Rebuilt> rebuilt = RebuildRows(world_.packs());
  ASSERT_TRUE(rebuilt.ok());
  EXPECT_FALSE(rebuilt->base_sequence.has_value());
  EXPECT_EQ(rebuilt->unfinished, 1u);
  EXPECT_TRUE(rebuilt->rows == world_.RowsAt(world_.committed()));
}

// Rows of more than one record change while they are read.
TEST_F(BaseJournalTest, BesideAWriter) {
  const auto change = [this](uint64_t number) {
    Batch batch;
    for (uint64_t i = 0; i < 4; ++i)
      batch.Put("I" + std::to_string(number * 7 % 400 + i),
                std::string(60'000, char('a' + number % 26)));
    batch.Delete("I" + std::to_string(number * 13 % 400));
    return world_.catalog().Apply(batch);
  };
  const auto commit = [this] {
    return world_.catalog().Commit([this](uint64_t sequence, const auto& changes) {
      return WriteJournal(world_.packs(), sequence, changes);
    });
  };
  uint64_t number = 0;
  for (; number < 300; ++number) {
    ASSERT_TRUE(change(number).ok());
    if (number % 50 == 0) {
      ASSERT_TRUE(commit().ok());
    }
  }
  std::atomic<bool> stop = false;
  std::atomic<int> failures = 0;
  std::thread writer([&] {
    while (!stop) {
      if (!change(++number).ok() || (number % 10 == 0 && !commit().ok())) ++failures;
      std::this_thread::yield();
    }
  });
  Result<uint64_t> base = uint64_t{0};
  for (int i = 0; i < 3 && base.ok(); ++i)
    base = WriteBaseJournal(world_.packs(), world_.catalog(), commit);
  stop = true;
  writer.join();
  ASSERT_TRUE(base.ok()) << base.status().ToString();
  EXPECT_EQ(failures, 0);
  ASSERT_TRUE(commit().ok());
  ASSERT_TRUE(world_.RemoveOldPacks().ok());
  ExpectRebuilt(*base);
}

}  // namespace
}  // namespace varve
