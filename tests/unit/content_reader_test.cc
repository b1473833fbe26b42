// Reading stored contents: the cache, read-ahead, and damage.
#include <gtest/gtest.h>

#include <atomic>
#include <chrono>
#include <set>
#include <thread>

#include "fs/core/content_cache.h"
#include "fs/core/content_streams.h"
#include "fs/core/content_workers.h"
#include "tests/support/content_fixture.h"
#include "tests/support/seed.h"

namespace varve {
namespace {

using testing::ContentFixture;
using testing::Flat;
using testing::Random;
using testing::TestRounds;
using testing::TestSeed;

constexpr uint64_t kKiB = 1u << 10;
constexpr uint64_t kMiB = 1u << 20;

ChunkId IdOf(uint64_t value) {
  ChunkId id;
  std::memcpy(id.bytes.data(), &value, sizeof(value));
  id.bytes[15] = 1;
  return id;
}

// ---- StreamDetector

uint64_t Size(ByteRange range) { return range.end - range.begin; }

TEST(StreamDetector, SequentialReadsAreLoadedAheadWithoutGapsOrRepeats) {
  StreamDetector streams;
  constexpr uint64_t kContent = 100 * kMiB;
  uint64_t ahead_end = 0;
  uint64_t asked = 0;
  for (uint64_t at = 0; at < kContent; at += 128 * kKiB) {
    const ByteRange ahead = streams.OnRead({at, at + 128 * kKiB}, kContent, ~uint64_t{0});
    if (Size(ahead) == 0) continue;
    EXPECT_TRUE(ahead.begin == ahead_end || asked == 0);
    EXPECT_GE(ahead.begin, at + 128 * kKiB);
    EXPECT_LE(ahead.end, std::min(kContent, at + 128 * kKiB + StreamDetector::kWindowBytesMax));
    ahead_end = ahead.end;
    asked += Size(ahead);
  }
  EXPECT_EQ(ahead_end, kContent);
  EXPECT_GE(asked, kContent - kMiB);
}

TEST(StreamDetector, WindowGrowsWithWhatWasRead) {
  StreamDetector streams;
  uint64_t largest = 0;
  ByteRange ahead{};
  for (uint64_t at = 0; at < 64 * kMiB; at += kMiB) {
    ahead = streams.OnRead({at, at + kMiB}, uint64_t{1} << 40, ~uint64_t{0});
    if (Size(ahead) > 0) largest = std::max(largest, ahead.end - at);
    EXPECT_LE(ahead.end, at + kMiB + 4 * (at + kMiB));
  }
  EXPECT_GE(largest, 15 * kMiB);
}

TEST(StreamDetector, ScatteredReadsLoadNothing) {
  StreamDetector streams;
  Random random(TestSeed());
  uint64_t asked = 0;
  for (int i = 0; i < 1000; ++i) {
    const uint64_t at = random.Below(uint64_t{1} << 40);
    asked += Size(streams.OnRead({at, at + 128 * kKiB}, uint64_t{1} << 40, ~uint64_t{0}));
  }
  EXPECT_LE(asked, 16 * kMiB);  // a few may fall near each other
}

TEST(StreamDetector, SameBytesAgainAreNoStream) {
  StreamDetector streams;
  for (int i = 0; i < 10; ++i)
    EXPECT_EQ(Size(streams.OnRead({4 * kKiB, 8 * kKiB}, 100 * kMiB, ~uint64_t{0})), 0u);
}

TEST(StreamDetector, FollowsSixStreamsWhoseReadsArriveOutOfOrder) {
  StreamDetector streams;
  constexpr uint64_t kContent = 600 * kMiB;
  std::vector<uint64_t> ahead(6);
  for (uint64_t step = 0; step < 60 * kMiB; step += 512 * kKiB) {
    for (uint64_t s = 0; s < 6; ++s) {
      for (const uint64_t part : {2u, 0u, 3u, 1u}) {
        const uint64_t at = s * 100 * kMiB + step + part * 128 * kKiB;
        ahead[s] += Size(streams.OnRead({at, at + 128 * kKiB}, kContent, ~uint64_t{0}));
      }
    }
  }
  for (const uint64_t bytes : ahead) {
    EXPECT_GE(bytes, 58 * kMiB);
    EXPECT_LE(bytes, 60 * kMiB + StreamDetector::kWindowBytesMax);
  }
}

TEST(StreamDetector, StaysWithinTheContentAndTheGivenWindow) {
  StreamDetector streams;
  EXPECT_EQ(Size(streams.OnRead({0, kMiB}, kMiB, ~uint64_t{0})), 0u);
  StreamDetector narrow;
  for (uint64_t at = 0; at < 50 * kMiB; at += kMiB)
    EXPECT_LE(narrow.OnRead({at, at + kMiB}, 100 * kMiB, 2 * kMiB).end, at + 3 * kMiB);
}

// ---- ChunkCache

class ChunkCacheTest : public ::testing::Test {
 protected:
  ChunkPin Load(uint64_t value, uint32_t size = 256 * kKiB) {
    ChunkCache::Claimed claimed = cache_.Claim(IdOf(value), size);
    if (claimed.mine) {
      std::fill(claimed.chunk->room().begin(), claimed.chunk->room().end(), uint8_t(value));
      cache_.Publish(claimed.chunk, Status());
    }
    return claimed.chunk;
  }
  bool Holds(uint64_t value) { return cache_.Contains(IdOf(value)); }

  ChunkCache cache_{BufferPool::Make(kMiB), 4 * kMiB};
};

TEST_F(ChunkCacheTest, StaysWithinItsBudgetAndForgetsTheOldest) {
  for (uint64_t i = 0; i < 100; ++i) {
    Load(i);
    EXPECT_LE(cache_.bytes(), cache_.bytes_max());
  }
  EXPECT_TRUE(Holds(99));
  EXPECT_TRUE(Holds(90));
  EXPECT_FALSE(Holds(50));
}

TEST_F(ChunkCacheTest, UsedChunksStayAndSpentOnesGoFirst) {
  for (uint64_t i = 0; i < 16; ++i) Load(i);
  cache_.Used(Load(0), /*spent=*/false);
  cache_.Used(Load(9), /*spent=*/true);
  Load(100);  // needs the room of one
  EXPECT_FALSE(Holds(9));
  EXPECT_TRUE(Holds(1));
  Load(101);
  Load(102);
  EXPECT_TRUE(Holds(0));
  EXPECT_FALSE(Holds(1));
}

TEST_F(ChunkCacheTest, PinnedBytesOutliveTheirPlaceInTheCache) {
  const ChunkPin pin = Load(7);
  for (uint64_t i = 100; i < 200; ++i) Load(i);
  EXPECT_FALSE(Holds(7));
  for (const uint8_t byte : pin->bytes()) ASSERT_EQ(byte, 7);
  cache_.Used(pin, true);  // harmless
}

TEST_F(ChunkCacheTest, FailedLoadsAreTriedAgain) {
  ChunkCache::Claimed first = cache_.Claim(IdOf(1), 4096);
  ASSERT_TRUE(first.mine);
  const ChunkCache::Claimed second = cache_.Claim(IdOf(1), 4096);
  EXPECT_FALSE(second.mine);
  cache_.Publish(first.chunk, Status(Code::kIo));
  EXPECT_EQ(cache_.Wait(second.chunk).code(), Code::kIo);
  EXPECT_EQ(cache_.bytes(), 0u);
  EXPECT_TRUE(cache_.Claim(IdOf(1), 4096).mine);
}

TEST_F(ChunkCacheTest, CountsWhatWasLoadedForNobodyYet) {
  const std::optional<ChunkPin> ahead = cache_.ClaimAhead(IdOf(1), 256 * kKiB);
  ASSERT_TRUE(ahead);
  EXPECT_FALSE(cache_.ClaimAhead(IdOf(1), 256 * kKiB));
  EXPECT_EQ(cache_.ahead_bytes(), 256 * kKiB);
  cache_.Publish(*ahead, Status());
  EXPECT_EQ(cache_.ahead_bytes(), 256 * kKiB);
  Load(1);
  EXPECT_EQ(cache_.ahead_bytes(), 0u);
  ASSERT_TRUE(cache_.ClaimAhead(IdOf(2), 256 * kKiB));
  const std::optional<ChunkPin> failed = cache_.ClaimAhead(IdOf(3), 256 * kKiB);
  cache_.Publish(*failed, Status(Code::kIo));
  EXPECT_EQ(cache_.ahead_bytes(), 256 * kKiB);
}

TEST_F(ChunkCacheTest, WaitersGetTheBytes) {
  const ChunkCache::Claimed mine = cache_.Claim(IdOf(1), 4096);
  std::atomic<int> right{0};
  std::vector<std::thread> threads;
  for (int i = 0; i < 4; ++i) {
    threads.emplace_back([&] {
      const ChunkCache::Claimed theirs = cache_.Claim(IdOf(1), 4096);
      if (!theirs.mine && cache_.Wait(theirs.chunk).ok() && theirs.chunk->bytes()[4095] == 5)
        ++right;
    });
  }
  std::this_thread::sleep_for(std::chrono::milliseconds(20));
  std::fill(mine.chunk->room().begin(), mine.chunk->room().end(), uint8_t{5});
  cache_.Publish(mine.chunk, Status());
  for (std::thread& thread : threads) thread.join();
  EXPECT_EQ(right, 4);
}

TEST(ContentWorkers, DropsWhatDoesNotFit) {
  std::atomic<bool> go{false};
  std::atomic<int> done{0};
  {
    ContentWorkers workers(1, 2);
    ASSERT_TRUE(workers.Submit([&] {
      while (!go) std::this_thread::yield();
      ++done;
    }));
    int taken = 0;
    for (int i = 0; i < 10; ++i) taken += workers.Submit([&] { ++done; }) ? 1 : 0;
    EXPECT_LE(taken, 3);
    go = true;
    while (done < taken + 1) std::this_thread::yield();
  }
}

// ---- reading

ContentStoreOptions SmallCache() {
  ContentStoreOptions options;
  options.cache_bytes_max = 12 * kMiB;
  return options;
}

class ContentReaderTest : public ::testing::Test {
 protected:
  std::string Put(ContentId id, size_t size) {
    std::string bytes = random_.Bytes(size);
    EXPECT_TRUE(fixture_.Store(bytes, id).ok());
    return bytes;
  }

  Random random_{TestSeed()};
  ContentFixture fixture_{SmallCache()};
};

TEST_F(ContentReaderTest, AnyRangeReadsWhatWasWritten) {
  const std::string bytes = Put(1, 20 * kMiB + 123);
  const auto reader = fixture_.Open(1, bytes.size());
  for (uint64_t i = TestRounds(150); i > 0; --i) {
    const uint64_t at = random_.Below(bytes.size() + 10);
    const size_t size = random_.Chance(1, 2) ? random_.Below(5000) : random_.Below(3 * kMiB);
    const Result<ReadReply> reply = reader->Read(at, size);
    ASSERT_TRUE(reply.ok());
    const std::string expected = at < bytes.size() ? bytes.substr(at, size) : "";
    ASSERT_EQ(reply->size, expected.size());
    ASSERT_TRUE(Flat(*reply) == expected);
  }
}

TEST_F(ContentReaderTest, ReadIntoFillsUpWithZeros) {
  const std::string bytes = Put(1, 100'000);
  std::string out(100'010, '?');
  ASSERT_TRUE(fixture_.Open(1, bytes.size())
                  ->ReadInto(50'000, {reinterpret_cast<uint8_t*>(out.data()), out.size()})
                  .ok());
  EXPECT_TRUE(out == bytes.substr(50'000) + std::string(out.size() - 50'000, '\0'));
}

TEST_F(ContentReaderTest, RepliesStayValidWhileOthersRead) {
  const std::string bytes = Put(1, 40 * kMiB);
  const auto reader = fixture_.Open(1, bytes.size());
  const Result<ReadReply> kept = reader->Read(kMiB, kMiB);
  for (uint64_t at = 0; at < bytes.size(); at += kMiB) ASSERT_TRUE(reader->Read(at, kMiB).ok());
  EXPECT_TRUE(Flat(*kept) == bytes.substr(kMiB, kMiB));
}

TEST_F(ContentReaderTest, SequentialReadsFindTheirChunksLoaded) {
  const std::string bytes = Put(1, 64 * kMiB);
  fixture_.packs().SetReadDelay(200);
  const uint64_t before = fixture_.packs().chunks_read();
  const auto reader = fixture_.Open(1, bytes.size());
  for (uint64_t at = 0; at < bytes.size(); at += 128 * kKiB) {
    const Result<ReadReply> reply = reader->Read(at, 128 * kKiB);
    ASSERT_TRUE(reply.ok() && Flat(*reply) == bytes.substr(at, 128 * kKiB));
  }
  const ContentStore::Counters counters = fixture_.store().counters();
  EXPECT_GE(counters.read_ahead_bytes, 32 * kMiB);
  EXPECT_EQ(counters.read_bytes, bytes.size());
  // Each chunk was read from the packs once, though the cache is much smaller.
  EXPECT_EQ(fixture_.packs().chunks_read() - before, fixture_.Pieces(1).size());
}

TEST_F(ContentReaderTest, EightStreamsDoNotPushEachOtherOut) {
  ContentStoreOptions options;
  options.cache_bytes_max = 40 * kMiB;
  ContentFixture fixture(options);
  const std::string bytes = random_.Bytes(12 * kMiB);
  for (ContentId id = 1; id <= 8; ++id) {
    std::string other = bytes;
    for (size_t at = 0; at < other.size(); at += 64 * kKiB) other[at] = static_cast<char>(id);
    ASSERT_TRUE(fixture.Store(other, id).ok());
  }
  const uint64_t before = fixture.packs().chunks_read();
  uint64_t pieces = 0;
  std::vector<std::shared_ptr<ContentReader>> readers;
  for (ContentId id = 1; id <= 8; ++id) {
    pieces += fixture.Pieces(id).size();
    readers.push_back(fixture.Open(id, bytes.size()));
  }
  for (uint64_t at = 0; at < bytes.size(); at += 128 * kKiB)
    for (const auto& reader : readers) ASSERT_TRUE(reader->Read(at, 128 * kKiB).ok());
  EXPECT_LE(fixture.packs().chunks_read() - before, pieces + pieces / 20);
}

TEST_F(ContentReaderTest, ReadersOfOneChunkLoadItOnce) {
  const std::string bytes = Put(1, 400'000);
  fixture_.packs().SetReadDelay(20'000);
  const uint64_t before = fixture_.packs().chunks_read();
  std::vector<std::thread> threads;
  std::atomic<int> right{0};
  for (int i = 0; i < 8; ++i) {
    threads.emplace_back([&] {
      const Result<ReadReply> reply = fixture_.Open(1, bytes.size())->Read(0, bytes.size());
      if (reply.ok() && Flat(*reply) == bytes) ++right;
    });
  }
  for (std::thread& thread : threads) thread.join();
  EXPECT_EQ(right, 8);
  EXPECT_EQ(fixture_.packs().chunks_read() - before, fixture_.Pieces(1).size());
}

TEST_F(ContentReaderTest, DamageIsAnErrorWhereItIsAndNowhereElse) {
  const std::string bytes = Put(1, 20 * kMiB);
  const std::vector<Piece> pieces = fixture_.Pieces(1);
  const size_t victim = pieces.size() / 2;
  uint64_t begin = 0;
  for (size_t i = 0; i < victim; ++i) begin += pieces[i].size_bytes;
  const uint64_t end = begin + pieces[victim].size_bytes;
  const ChunkLocation location = *fixture_.Locate(pieces[victim].id);
  fixture_.packs().Damage(location);
  const auto reader = fixture_.Open(1, bytes.size());
  for (uint64_t at = 0; at < bytes.size(); at += 100'000) {
    const Result<ReadReply> reply = reader->Read(at, 100'000);
    if (at < end && at + 100'000 > begin) {
      ASSERT_EQ(reply.status().code(), Code::kCorrupt);
      EXPECT_NE(reply.status().context().find("content 1"), std::string_view::npos);
    } else {
      ASSERT_TRUE(reply.ok() && Flat(*reply) == bytes.substr(at, 100'000));
    }
  }
  fixture_.packs().Repair(location);
  EXPECT_TRUE(Flat(*reader->Read(begin, 1000)) == bytes.substr(begin, 1000));
}

TEST_F(ContentReaderTest, MissingRowsAreDamage) {
  const std::string bytes = Put(1, 60 * kMiB);
  const std::vector<Piece> pieces = fixture_.Pieces(1);
  Batch batch;
  batch.Delete(key::Chunk(pieces[0].id));
  batch.Delete(key::Recipe(1, bytes.size()));  // the last segment
  ASSERT_TRUE(fixture_.catalog().Apply(batch).ok());
  const auto reader = fixture_.Open(1, bytes.size());
  EXPECT_EQ(reader->Read(0, 10).status().code(), Code::kCorrupt);
  EXPECT_TRUE(reader->Read(kMiB, 10).ok());
  EXPECT_EQ(reader->Read(bytes.size() - 1, 1).status().code(), Code::kCorrupt);
  EXPECT_EQ(fixture_.Open(99, 10)->Read(0, 10).status().code(), Code::kCorrupt);
}

TEST_F(ContentReaderTest, RecipeThatLiesAboutASizeIsDamage) {
  const std::string bytes = Put(1, 100'000);
  std::vector<Piece> pieces = fixture_.Pieces(1);
  pieces[0].size_bytes = 99'999;
  Batch batch;
  batch.Put(key::Recipe(2, 99'999), EncodeSegment(pieces));
  ASSERT_TRUE(fixture_.catalog().Apply(batch).ok());
  EXPECT_EQ(fixture_.Open(2, 99'999)->Read(0, 10).status().code(), Code::kCorrupt);
  ASSERT_TRUE(fixture_.Open(1, 100'000)->Read(0, 10).ok());  // now it is in the cache
  EXPECT_EQ(fixture_.Open(2, 99'999)->Read(0, 10).status().code(), Code::kCorrupt);
}

TEST_F(ContentReaderTest, ManyThreadsReadWhileContentsAreDigested) {
  std::vector<std::string> contents;
  for (ContentId id = 1; id <= 4; ++id) contents.push_back(Put(id, 9 * kMiB));
  std::atomic<bool> stop{false};
  std::atomic<uint64_t> wrong{0};
  std::vector<std::thread> threads;
  for (uint64_t t = 0; t < 4; ++t) {
    threads.emplace_back([&, t] {
      Random random(t);
      while (!stop) {
        const ContentId id = 1 + random.Below(4);
        const std::string& bytes = contents[id - 1];
        const auto reader = fixture_.Open(id, bytes.size());
        uint64_t at = random.Below(bytes.size());
        for (int i = 0; i < 8; ++i, at += 128 * kKiB) {
          const Result<ReadReply> reply = reader->Read(at, 128 * kKiB);
          if (!reply.ok() ||
              Flat(*reply) != (at < bytes.size() ? bytes.substr(at, 128 * kKiB) : ""))
            ++wrong;
        }
      }
    });
  }
  for (uint64_t round = 0; round < TestRounds(4); ++round)
    EXPECT_TRUE(fixture_.Store(contents[round % 4], 100 + round).ok());
  stop = true;
  for (std::thread& thread : threads) thread.join();
  EXPECT_EQ(wrong, 0u);
}

}  // namespace
}  // namespace varve
