// The log alone: records, segments, growth, and what replay believes.
#include "index/batch_log.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <memory>
#include <string>
#include <vector>

#include "index/log_format.h"
#include "tests/support/seed.h"
#include "tests/support/sim_disk.h"

namespace varve {
namespace {

using testing::Random;
using testing::SimDisk;
using testing::TestRounds;
using testing::TestSeed;

Batch BatchOf(const std::string& text) {
  Batch batch;
  batch.Put("k", text);
  return batch;
}

// A log, the marks of its commits, and the texts that were appended to it.
class LogWorld {
 public:
  explicit LogWorld(uint64_t segment_bytes_max) { options_.segment_bytes_max = segment_bytes_max; }

  SimDisk& disk() { return disk_; }
  BatchLog& log() { return *log_; }
  const std::vector<std::string>& texts() const { return texts_; }
  uint64_t committed() const { return mark_.sequence; }
  uint64_t replayed() const { return replayed_; }

  Status Open() {
    log_.reset();
    replayed_ = 0;
    uint64_t last = mark_.sequence;
    Result<std::unique_ptr<BatchLog>> opened =
        BatchLog::Open(disk_, "log", options_, mark_, [&](uint64_t sequence, ByteView body) {
          EXPECT_EQ(sequence, last + 1);
          if (sequence > texts_.size()) return Status(Code::kInvalid, "a batch from nowhere");
          last = sequence;
          ++replayed_;
          return DecodeBatch(body, [&](std::string_view, std::optional<std::string_view> value) {
            EXPECT_EQ(texts_[sequence - 1], value);
          });
        });
    if (!opened.ok()) return opened.status();
    log_ = std::move(opened).value();
    EXPECT_EQ(log_->appended_sequence(), last);
    texts_.resize(std::min<size_t>(texts_.size(), last));
    return {};
  }
  // False when it is full, or the machine died; then the batch may be there or not.
  bool Append(const std::string& text) {
    const Result<std::optional<uint64_t>> appended = log_->Append(BatchOf(text));
    if (disk_.crashed()) {
      texts_.push_back(text);
      return false;
    }
    EXPECT_TRUE(appended.ok()) << appended.status().ToString();
    if (!appended.ok() || !*appended) return false;
    texts_.push_back(text);
    EXPECT_EQ(**appended, texts_.size());
    return true;
  }
  LogMark Freeze() { return log_->Freeze(); }
  void Commit(const LogMark& mark) {
    mark_ = mark;
    log_->Release(mark.sequence);
  }
  void Die(bool power_cut, uint64_t seed) {
    log_.reset();
    if (power_cut) {
      disk_.PowerCut(seed);
    } else {
      disk_.ProcessDeath();
    }
  }
  uint64_t SizeOf(const std::string& path) {
    const Result<struct stat> attributes = disk_.Stat(path);
    return attributes.ok() ? static_cast<uint64_t>(attributes->st_size) : 0;
  }
  void Overwrite(const std::string& path, uint64_t offset, const std::string& bytes) {
    const auto file = disk_.Open(path, OpenMode::kReadWrite).value();
    ASSERT_TRUE(file->WriteAt(offset, AsBytes(bytes)).ok());
  }

 private:
  SimDisk disk_;
  BatchLogOptions options_;
  std::unique_ptr<BatchLog> log_;
  LogMark mark_;
  std::vector<std::string> texts_;
  uint64_t replayed_ = 0;
};

TEST(BatchLogTest, ReplaysInOrder) {
  LogWorld world(64 << 10);
  ASSERT_TRUE(world.Open().ok());
  for (int i = 0; i < 100; ++i) ASSERT_TRUE(world.Append("text " + std::to_string(i)));
  ASSERT_TRUE(world.Open().ok());
  EXPECT_EQ(world.replayed(), 100u);
  ASSERT_TRUE(world.Append("more"));
  ASSERT_TRUE(world.Open().ok());
  EXPECT_EQ(world.replayed(), 101u);
}

TEST(BatchLogTest, ReplaysOnlyWhatFollowsTheMark) {
  LogWorld world(64 << 10);
  ASSERT_TRUE(world.Open().ok());
  for (int i = 0; i < 10; ++i) ASSERT_TRUE(world.Append(std::to_string(i)));
  world.Commit(world.Freeze());
  ASSERT_TRUE(world.Open().ok());
  EXPECT_EQ(world.replayed(), 0u);
  ASSERT_TRUE(world.Append("10"));
  const LogMark mark = world.Freeze();
  ASSERT_TRUE(world.Append("11"));  // while the commit is under way
  ASSERT_TRUE(world.Open().ok());
  EXPECT_EQ(world.replayed(), 2u);
  world.Commit(mark);
  ASSERT_TRUE(world.Open().ok());
  EXPECT_EQ(world.replayed(), 1u);
}

TEST(BatchLogTest, FillsBothSegmentsThenWaitsForACommit) {
  LogWorld world(16 << 10);
  ASSERT_TRUE(world.Open().ok());
  const std::string text(1000, 't');
  int fitted = 0;
  while (world.Append(text)) ++fitted;
  EXPECT_EQ(fitted, 2 * (((16 << 10) - 4096) / 1037));
  ASSERT_TRUE(world.Open().ok());
  EXPECT_EQ(world.replayed(), static_cast<uint64_t>(fitted));
  ASSERT_FALSE(world.Append(text)) << "nothing was released by reopening";
  world.Commit(world.Freeze());
  for (int i = 0; i < 11; ++i) ASSERT_TRUE(world.Append(text));
  ASSERT_TRUE(world.Open().ok());
  EXPECT_EQ(world.replayed(), 11u);
}

TEST(BatchLogTest, ARecordThatCanNeverFitIsInvalid) {
  LogWorld world(16 << 10);
  ASSERT_TRUE(world.Open().ok());
  EXPECT_EQ(world.log().Append(BatchOf(std::string(13000, 't'))).status().code(), Code::kInvalid);
  EXPECT_TRUE(world.Append(std::string(12000, 't')));
}

TEST(BatchLogTest, StartsSmallGrowsInStepsAndKeepsItsSize) {
  LogWorld world(64 << 20);
  ASSERT_TRUE(world.Open().ok());
  EXPECT_EQ(world.SizeOf("log/0"), 256u << 10);
  EXPECT_EQ(world.SizeOf("log/1"), 256u << 10);
  const std::string text(100 << 10, 't');
  for (int i = 0; i < 30; ++i) ASSERT_TRUE(world.Append(text));
  const uint64_t size = world.SizeOf("log/0");
  EXPECT_GE(size, 3u << 20);
  EXPECT_LE(size, 8u << 20);
  EXPECT_EQ(world.SizeOf("log/1"), 256u << 10);
  world.Commit(world.Freeze());
  ASSERT_TRUE(world.Open().ok());
  EXPECT_EQ(world.SizeOf("log/0"), size);
}

TEST(BatchLogTest, AppendIsOneWriteAndSyncOneFlush) {
  LogWorld world(64 << 10);
  ASSERT_TRUE(world.Open().ok());
  const uint64_t before = world.disk().change_count();
  for (int i = 0; i < 50; ++i) ASSERT_TRUE(world.Append(std::string(300, 't')));
  EXPECT_EQ(world.disk().change_count(), before + 50);
  ASSERT_TRUE(world.log().Sync(50).ok());
  EXPECT_EQ(world.disk().change_count(), before + 51);
  ASSERT_TRUE(world.log().Sync(50).ok());
  EXPECT_EQ(world.disk().change_count(), before + 51) << "everything was synced";
}

TEST(BatchLogTest, AFullDiskChangesNothing) {
  LogWorld world(16 << 20);
  ASSERT_TRUE(world.Open().ok());
  world.disk().SetCapacity(world.disk().used_bytes());
  const std::string text(50 << 10, 't');
  Result<std::optional<uint64_t>> appended = std::optional<uint64_t>(0);
  uint64_t fitted = 0;
  for (;; ++fitted) {
    appended = world.log().Append(BatchOf(text));
    if (!appended.ok()) break;
  }
  EXPECT_EQ(appended.status().code(), Code::kNoSpace);
  EXPECT_EQ(world.log().appended_sequence(), fitted);
  EXPECT_EQ(fitted, 10u) << "both segments are used up to what they occupy";
  world.log().Release(world.Freeze().sequence);
  EXPECT_TRUE(world.log().Append(BatchOf(text)).ok()) << "a commit makes room on a full disk";
}

TEST(BatchLogTest, TornAndDecayedRecordsEndTheLog) {
  for (uint64_t offset : {0u, 4u, 8u, 9u, 12u, 16u, 24u, 31u, 32u, 40u, 335u}) {
    LogWorld world(64 << 10);
    ASSERT_TRUE(world.Open().ok());
    for (int i = 0; i < 3; ++i) ASSERT_TRUE(world.Append(std::string(300, 't')));
    constexpr uint64_t kRecord = 32 + 2 + 2 + 300;
    world.Overwrite("log/0", 4096 + kRecord + offset, "\xee");
    ASSERT_TRUE(world.Open().ok());
    EXPECT_EQ(world.replayed(), 1u) << "offset " << offset;
  }
}

TEST(BatchLogTest, RefusesANewerFormatByName) {
  LogWorld world(64 << 10);
  ASSERT_TRUE(world.Open().ok());
  world.Overwrite("log/0", 8, "\2");
  const Status opened = world.Open();
  EXPECT_EQ(opened.code(), Code::kUnsupported);
  EXPECT_NE(opened.context().find("format 2"), std::string_view::npos) << opened.ToString();
}

TEST(BatchLogTest, OneTornHeaderIsNoLossTwoAreCorrupt) {
  LogWorld world(64 << 10);
  ASSERT_TRUE(world.Open().ok());
  ASSERT_TRUE(world.Open().ok());
  ASSERT_TRUE(world.Append("text"));
  world.Overwrite("log/0", 20, "x");
  ASSERT_TRUE(world.Open().ok());
  EXPECT_EQ(world.replayed(), 1u);
  world.Overwrite("log/0", 20, "x");
  world.Overwrite("log/1", 0, "x");
  EXPECT_EQ(world.Open().code(), Code::kCorrupt);
}

TEST(BatchLogTest, ALogThatWasReplacedStartsAnew) {
  LogWorld world(16 << 20);
  ASSERT_TRUE(world.Open().ok());
  for (int i = 0; i < 8; ++i) ASSERT_TRUE(world.Append(std::string(100 << 10, 't')));
  world.Commit(world.Freeze());
  for (int i = 0; i < 8; ++i) ASSERT_TRUE(world.Append(std::string(100 << 10, 't')));
  world.Commit(world.Freeze());
  ASSERT_TRUE(world.disk().Remove("log/0").ok());
  ASSERT_TRUE(world.disk().Remove("log/1").ok());
  for (int round = 0; round < 3; ++round) {
    ASSERT_TRUE(world.Open().ok());
    ASSERT_TRUE(world.Append("text"));
  }
  ASSERT_TRUE(world.Open().ok());
  EXPECT_EQ(world.replayed(), 3u);
}

TEST(BatchLogTest, DecodersSurviveAnyBytes) {
  Random random(TestSeed());
  for (int round = 0; round < 20000; ++round) {
    const std::string bytes = random.Bytes(random.Below(60));
    // Whatever they say, they must not read beyond the view.
    static_cast<void>(DecodeBatch(AsBytes(bytes), [](auto, auto) {}).ok());
    static_cast<void>(DecodeLogHeader(AsBytes(bytes)).ok());
    static_cast<void>(DecodeRecordHeader(AsBytes(bytes)).has_value());
    static_cast<void>(DecodeLogMark(bytes).ok());
  }
  const LogMark mark{7, 3, {1, 8192}};
  const Result<LogMark> decoded = DecodeLogMark(EncodeLogMark(mark));
  ASSERT_TRUE(decoded.ok());
  EXPECT_EQ(decoded->sequence, 7u);
  EXPECT_EQ(decoded->generation, 3u);
  EXPECT_EQ(decoded->next.segment, 1u);
  EXPECT_EQ(decoded->next.offset_bytes, 8192u);
}

// Records of one size always start at the same places, so what a power cut left
// behind a hole is in line with what is appended later: only its generation tells
// that it is stale. Texts differ, so every stale record is noticed.
TEST(BatchLogTest, NoStaleRecordIsReplayedAfterPowerCuts) {
  Random random(TestSeed());
  uint64_t number = 0;
  for (uint64_t round = 0; round < TestRounds(60); ++round) {
    LogWorld world(16 << 10);
    uint64_t promised = 0;
    for (int life = 0; life < 30; ++life) {
      const uint64_t crash = world.disk().change_count() + random.Below(25);
      if (random.Chance(1, 3)) world.disk().CrashAt(crash);
      const Status opened = world.Open();
      ASSERT_TRUE(opened.ok() || world.disk().crashed()) << opened.ToString();
      if (opened.ok()) {
        ASSERT_GE(world.texts().size(), promised);
        promised = world.texts().size();
      }
      LogMark frozen;
      for (uint64_t step = random.Below(12); opened.ok() && step > 0; --step) {
        const std::string text = std::to_string(10000000 + number++) + std::string(900, 't');
        if (world.disk().crashed() || !world.Append(text)) break;
        if (random.Chance(1, 8) && world.log().Sync(world.texts().size()).ok())
          promised = world.texts().size();
        if (random.Chance(1, 8)) frozen = world.Freeze();
        if (random.Chance(1, 8) && frozen.sequence > world.committed() &&
            frozen.sequence <= world.texts().size())
          world.Commit(frozen);
        promised = std::max(promised, world.committed());
      }
      const bool crashed = world.disk().crashed();
      world.Die(crashed || random.Chance(3, 4), random.Next());
      if (HasFailure()) return;
    }
  }
}

}  // namespace
}  // namespace varve
