// Digesting: what is stored, what is shared, what happens when things go wrong.
#include "fs/core/content_store.h"

#include <gtest/gtest.h>
#include <unistd.h>

#include <chrono>
#include <thread>

#include "store/chunk/cutter.h"
#include "tests/support/content_fixture.h"
#include "tests/support/seed.h"

namespace varve {
namespace {

using testing::ContentFixture;
using testing::Random;
using testing::TestRounds;
using testing::TestSeed;
using testing::TestSource;

constexpr uint64_t kMiB = 1u << 20;

// Edits in a content, and what they make of its bytes.
struct Edited {
  std::string bytes;
  DigestBase base;
};

Edited Edit(const std::string& old, ContentId base, std::vector<ByteRange> changed,
            Random* random) {
  Edited edited{old, {base, old.size(), changed}};
  for (const ByteRange& range : changed)
    edited.bytes.replace(range.begin, range.end - range.begin,
                         random->Bytes(range.end - range.begin));
  return edited;
}

class ContentStoreTest : public ::testing::Test {
 protected:
  // Stores `edited` as content `id` and expects it to read back.
  Digested StoreEdited(const Edited& edited, ContentId id) {
    TestSource source(edited.bytes);
    Result<Digested> digested = fixture_.Store(source, id, edited.base);
    EXPECT_TRUE(digested.ok()) << digested.status().ToString();
    Result<std::string> read = fixture_.ReadAll(id, edited.bytes.size());
    EXPECT_TRUE(read.ok()) << read.status().ToString();
    EXPECT_TRUE(*read == edited.bytes);
    return std::move(digested).value();
  }
  void ExpectContent(ContentId id, const std::string& bytes) {
    const Result<std::string> read = fixture_.ReadAll(id, bytes.size());
    ASSERT_TRUE(read.ok()) << read.status().ToString();
    EXPECT_TRUE(*read == bytes);
  }

  Random random_{TestSeed()};
  ContentFixture fixture_;
};

TEST_F(ContentStoreTest, RoundTripOfManySizes) {
  ContentId id = 0;
  for (const size_t size :
       {size_t{0}, size_t{1}, size_t{4095}, size_t{128} << 10, (size_t{128} << 10) + 1,
        size_t{kMiB}, size_t{3 * kMiB + 17}, size_t{9 * kMiB}, size_t{20 * kMiB + 1}}) {
    const std::string bytes = random_.Bytes(size);
    const Result<Digested> digested = fixture_.Store(bytes, ++id);
    ASSERT_TRUE(digested.ok());
    EXPECT_EQ(digested->new_bytes, size);
    EXPECT_EQ(digested->shared_bytes, 0u);
    ExpectContent(id, bytes);
  }
}

TEST_F(ContentStoreTest, EqualContentIsSharedAfterComparingItsBytes) {
  const std::string bytes = random_.Bytes(10 * kMiB);
  ASSERT_TRUE(fixture_.Store(bytes, 1).ok());
  const uint64_t appends = fixture_.packs().appends();
  const uint64_t read = fixture_.packs().chunks_read();
  const Result<Digested> again = fixture_.Store(bytes, 2);
  ASSERT_TRUE(again.ok());
  EXPECT_EQ(again->new_bytes, 0u);
  EXPECT_EQ(again->shared_bytes, bytes.size());
  EXPECT_TRUE(again->new_chunks.empty());
  EXPECT_EQ(fixture_.packs().appends(), appends);
  EXPECT_EQ(fixture_.packs().chunks_read() - read, fixture_.Pieces(2).size());
  ExpectContent(2, bytes);
}

TEST_F(ContentStoreTest, PiecesEndWhereTheCutterSays) {
  // Hexadecimal text, which is cut by content.
  std::string bytes;
  for (const char byte : random_.Bytes(8 * kMiB)) {
    bytes += "0123456789abcdef"[byte & 15];
    if (bytes.size() % 61 == 0) bytes += '\n';
  }
  std::vector<uint64_t> expected;
  const std::unique_ptr<Cutter> cutter =
      ChooseCutter(bytes.size(), AsBytes(bytes).first(64u << 10));
  for (size_t at = 0; at < bytes.size(); at += static_cast<size_t>(expected.back()))
    expected.push_back(cutter->Next(
        at, AsBytes(bytes).subspan(at, std::min<size_t>(kChunkBytesMax, bytes.size() - at))));
  ASSERT_TRUE(fixture_.Store(bytes, 1).ok());
  std::vector<uint64_t> sizes;
  for (const Piece& piece : fixture_.Pieces(1)) sizes.push_back(piece.size_bytes);
  EXPECT_GE(sizes.size(), 20u);
  EXPECT_EQ(sizes, expected);

  // So an insertion at the beginning changes little behind it.
  const Result<Digested> shifted = fixture_.Store("a few more bytes" + bytes, 2);
  ASSERT_TRUE(shifted.ok());
  EXPECT_LE(shifted->new_bytes, kMiB);
}

TEST_F(ContentStoreTest, ZeroFilledDataIsStoredOnce) {
  const std::string bytes(24 * kMiB, '\0');
  const Result<Digested> digested = fixture_.Store(bytes, 1);
  ASSERT_TRUE(digested.ok());
  EXPECT_LE(digested->new_bytes, kChunkBytesMax);
  EXPECT_EQ(digested->hole_bytes, 0u);
  EXPECT_LE(digested->new_chunks.size(), 2u);
  EXPECT_LE(digested->batch.changes().size(), 4u);
  ExpectContent(1, bytes);
  EXPECT_EQ(*fixture_.Open(1, bytes.size())->Seek(0, SEEK_HOLE), bytes.size());
}

TEST_F(ContentStoreTest, SixteenTebibytesOfHoleCostNothing) {
  const uint64_t size = uint64_t{16} << 40;
  TestSource source(size);
  const std::string island = random_.Bytes(100'000);
  source.Put(uint64_t{5} << 40, island);
  const Result<Digested> digested = fixture_.Store(source, 1);
  ASSERT_TRUE(digested.ok());
  EXPECT_LE(source.bytes_read(), kMiB);
  EXPECT_LE(digested->batch.changes().size(), 6u);
  EXPECT_EQ(digested->hole_bytes, size - island.size());

  const auto reader = fixture_.Open(1, size);
  EXPECT_EQ(*reader->Seek(0, SEEK_DATA), uint64_t{5} << 40);
  EXPECT_EQ(*reader->Seek(uint64_t{5} << 40, SEEK_HOLE), (uint64_t{5} << 40) + island.size());
  EXPECT_EQ(reader->Seek((uint64_t{5} << 40) + island.size(), SEEK_DATA).status().os_errno(),
            ENXIO);
  EXPECT_EQ(*reader->Seek(size - 1, SEEK_HOLE), size - 1);
  EXPECT_EQ(reader->Seek(size, SEEK_HOLE).status().os_errno(), ENXIO);
  EXPECT_EQ(reader->Seek(0, SEEK_CUR).status().os_errno(), EINVAL);
  EXPECT_EQ(testing::Flat(*reader->Read((uint64_t{5} << 40) - 3, 103)),
            std::string(3, '\0') + island.substr(0, 100));
  EXPECT_EQ(reader->Read(size - 10, 100)->size, 10u);
}

TEST_F(ContentStoreTest, HolesStayWhereTheSourceHasThem) {
  for (uint64_t round = TestRounds(20); round > 0; --round) {
    const uint64_t size = random_.Between(1, 12 * kMiB);
    TestSource source(size);
    std::string bytes(size, '\0');
    std::vector<ByteRange> holes;
    for (uint64_t at = random_.Below(size + 1); at < size;) {
      const uint64_t data = std::min(size - at, random_.Between(1, 2 * kMiB));
      std::string part = random_.Bytes(data);
      bytes.replace(at, data, part);
      source.Put(at, std::move(part));
      at += data;
      if (at < size) at += std::min(size - at, random_.Between(1, kMiB));
    }
    ASSERT_TRUE(fixture_.Store(source, 1).ok());
    ExpectContent(1, bytes);
    const auto reader = fixture_.Open(1, size);
    for (uint64_t at = 0; at < size;) {
      const ByteRange data = *source.NextData(at);
      const Result<uint64_t> found = reader->Seek(at, SEEK_DATA);
      if (data.begin == size) {
        EXPECT_EQ(found.status().os_errno(), ENXIO);
        break;
      }
      ASSERT_TRUE(found.ok());
      EXPECT_EQ(*found, data.begin);
      at = *reader->Seek(data.begin, SEEK_HOLE);
      EXPECT_EQ(at, data.end);
    }
  }
}

// ---- sharing must never cost data

TEST_F(ContentStoreTest, CollisionCostsSpaceAndNoData) {
  // Another chunk has the name of ours: only comparing bytes tells.
  fixture_.packs().SetVerify(false);
  const std::string mine = random_.Bytes(100'000);
  std::string other = random_.Bytes(100'000);
  ASSERT_TRUE(fixture_.Store(other, 1).ok());
  const ChunkId name = fixture_.fingerprinter().Name(AsBytes(mine));
  const ChunkLocation rival = *fixture_.Locate(fixture_.Pieces(1)[0].id);
  Batch forged;
  forged.Put(key::Chunk(name), EncodeLocation(rival));
  ASSERT_TRUE(fixture_.catalog().Apply(forged).ok());

  const Result<Digested> digested = fixture_.Store(mine, 2);
  ASSERT_TRUE(digested.ok());
  ExpectContent(2, mine);
  EXPECT_EQ(*fixture_.Locate(name), rival);  // who had the name keeps it
  EXPECT_GE(fixture_.Pieces(2).size(), 2u);
  // And the next time all is found.
  const Result<Digested> again = fixture_.Store(mine, 3);
  ASSERT_TRUE(again.ok());
  EXPECT_EQ(again->new_bytes, 0u);
  ExpectContent(3, mine);
}

TEST_F(ContentStoreTest, CollisionOfOtherSizeIsSeenWithoutReading) {
  const std::string mine = random_.Bytes(100'000);
  ASSERT_TRUE(fixture_.Store(random_.Bytes(50'000), 1).ok());
  Batch forged;
  forged.Put(key::Chunk(fixture_.fingerprinter().Name(AsBytes(mine))),
             EncodeLocation(*fixture_.Locate(fixture_.Pieces(1)[0].id)));
  ASSERT_TRUE(fixture_.catalog().Apply(forged).ok());
  ASSERT_TRUE(fixture_.Store(mine, 2).ok());
  ExpectContent(2, mine);
}

TEST_F(ContentStoreTest, TwoChunksOfOneNameInOneWindow) {
  // Both are new: the second is compared with the first in memory.
  const std::string block = random_.Bytes(512 << 10);
  std::string bytes;
  for (int i = 0; i < 18; ++i) bytes += block;
  const Result<Digested> digested = fixture_.Store(bytes, 1);
  ASSERT_TRUE(digested.ok());
  EXPECT_EQ(digested->new_bytes, block.size());
  ExpectContent(1, bytes);
}

TEST_F(ContentStoreTest, UnreadableStoredCopyIsNotShared) {
  const std::string bytes = random_.Bytes(100'000);
  ASSERT_TRUE(fixture_.Store(bytes, 1).ok());
  fixture_.packs().Damage(*fixture_.Locate(fixture_.Pieces(1)[0].id));
  ASSERT_TRUE(fixture_.Store(bytes, 2).ok());
  ExpectContent(2, bytes);
  EXPECT_EQ(fixture_.ReadAll(1, bytes.size()).status().code(), Code::kCorrupt);
  EXPECT_EQ(fixture_.Store(bytes, 3)->new_bytes, 0u);
}

TEST_F(ContentStoreTest, DamagedSingleByteIsStoredAnew) {
  ASSERT_TRUE(fixture_.Store("x", 1).ok());
  fixture_.packs().Damage(*fixture_.Locate(fixture_.Pieces(1)[0].id));
  ASSERT_TRUE(fixture_.Store("x", 2).ok());
  ExpectContent(2, "x");
  ExpectContent(1, "x");  // healed
}

TEST_F(ContentStoreTest, SingleBytesHaveNamesOfTheirOwn) {
  std::set<ChunkId> names;
  for (int byte = 0; byte < 256; ++byte) {
    const auto value = static_cast<uint8_t>(byte);
    names.insert(fixture_.fingerprinter().Name({&value, 1}));
  }
  EXPECT_EQ(names.size(), 256u);
}

TEST_F(ContentStoreTest, DamagedRowOfAChunkIsReplaced) {
  const std::string bytes = random_.Bytes(100'000);
  ASSERT_TRUE(fixture_.Store(bytes, 1).ok());
  Batch damage;
  damage.Put(key::Chunk(fixture_.Pieces(1)[0].id), "?");
  ASSERT_TRUE(fixture_.catalog().Apply(damage).ok());
  EXPECT_EQ(fixture_.ReadAll(1, bytes.size()).status().code(), Code::kCorrupt);
  ASSERT_TRUE(fixture_.Store(bytes, 2).ok());
  ExpectContent(2, bytes);
}

// ---- contents that are digested at the same time

TEST_F(ContentStoreTest, ChunksInFlightAreSharedAndSurviveTheirFirstOwner) {
  const std::string bytes = random_.Bytes(5 * kMiB);
  TestSource first_source(bytes);
  TestSource second_source(bytes);
  const Result<Digested> first = fixture_.store().Digest(first_source, 1, std::nullopt);
  const Result<Digested> second = fixture_.store().Digest(second_source, 2, std::nullopt);
  ASSERT_TRUE(first.ok() && second.ok());
  EXPECT_EQ(second->new_bytes, 0u);
  EXPECT_EQ(second->shared_bytes, bytes.size());
  EXPECT_EQ(fixture_.packs().appended_bytes(), bytes.size());
  // The first batch is never applied.
  fixture_.store().Forget(first->new_chunks);
  ASSERT_TRUE(fixture_.Commit(*second).ok());
  ExpectContent(2, bytes);
}

TEST_F(ContentStoreTest, ManyDigestsOfOneContentAtOnce) {
  const std::string bytes = random_.Bytes(6 * kMiB);
  fixture_.packs().SetAppendDelay(1000);  // so that they meet at each chunk
  std::vector<std::thread> threads;
  std::vector<Result<Digested>> results(6, Result<Digested>(Status(Code::kBusy)));
  for (size_t i = 0; i < results.size(); ++i) {
    threads.emplace_back([&, i] {
      TestSource source(bytes);
      results[i] = fixture_.Store(source, 10 + i);
    });
  }
  for (std::thread& thread : threads) thread.join();
  uint64_t new_bytes = 0;
  for (size_t i = 0; i < results.size(); ++i) {
    ASSERT_TRUE(results[i].ok());
    new_bytes += results[i]->new_bytes;
    ExpectContent(10 + i, bytes);
  }
  EXPECT_EQ(new_bytes, bytes.size());
  EXPECT_EQ(fixture_.packs().appended_bytes(), bytes.size());
}

TEST_F(ContentStoreTest, CancelledDigestStopsAtOnceAndItsChunksAreNotAppendedAgain) {
  const std::string bytes = random_.Bytes(20 * kMiB);
  TestSource source(bytes);
  source.OnCancelled([&] { return fixture_.packs().appended_bytes() >= 8 * kMiB; });
  EXPECT_EQ(fixture_.store().Digest(source, 1, std::nullopt).status().code(), Code::kBusy);
  EXPECT_LE(fixture_.packs().appended_bytes(), 8 * kMiB + kChunkBytesMax);
  ASSERT_TRUE(fixture_.Store(bytes, 1).ok());
  EXPECT_EQ(fixture_.packs().appended_bytes(), bytes.size());
  ExpectContent(1, bytes);
}

TEST_F(ContentStoreTest, EveryFailingAppendIsReportedAndHealsWhenRepeated) {
  const std::string bytes = random_.Bytes(9 * kMiB);
  const uint64_t chunks = 18;
  for (uint64_t n = 0; n < chunks; ++n) {
    ContentFixture fixture;
    fixture.packs().FailAppends(static_cast<int64_t>(n), Status(Code::kNoSpace));
    EXPECT_EQ(fixture.Store(bytes, 1).status().code(), Code::kNoSpace) << n;
    EXPECT_TRUE(fixture.Pieces(1).empty());
    fixture.packs().FailAppends(INT64_MAX, Status());
    ASSERT_TRUE(fixture.Store(bytes, 1).ok());
    EXPECT_EQ(fixture.packs().appended_bytes(), bytes.size()) << n;
    EXPECT_TRUE(*fixture.ReadAll(1, bytes.size()) == bytes);
  }
}

TEST_F(ContentStoreTest, DigestAgainReplacesTheRecipe) {
  const std::string longer = random_.Bytes(60 * kMiB);  // more than one segment
  const std::string shorter = random_.Bytes(3 * kMiB);
  ASSERT_TRUE(fixture_.Store(longer, 1).ok());
  ASSERT_TRUE(fixture_.Store(shorter, 1).ok());
  ExpectContent(1, shorter);
  EXPECT_FALSE(*FindSegment(fixture_.catalog(), 1, shorter.size()));
  ASSERT_TRUE(fixture_.Store("", 1).ok());
  EXPECT_TRUE(fixture_.Pieces(1).empty());
}

TEST_F(ContentStoreTest, RemovalDeletesTheRecipeOnly) {
  const std::string bytes = random_.Bytes(60 * kMiB);
  ASSERT_TRUE(fixture_.Store(bytes, 1).ok());
  ASSERT_TRUE(fixture_.Store(bytes, 2).ok());
  Batch batch;
  ASSERT_TRUE(fixture_.store().AppendRemoval(1, &batch).ok());
  ASSERT_TRUE(fixture_.catalog().Apply(batch).ok());
  EXPECT_TRUE(fixture_.Pieces(1).empty());
  ExpectContent(2, bytes);
}

TEST_F(ContentStoreTest, VeryManyPiecesDoNotMakeAVeryLargeBatch) {
  constexpr uint64_t kPieces = 120'000;
  TestSource source(kPieces * 8192);
  for (uint64_t i = 0; i < kPieces; ++i) source.Put(i * 8192, random_.Bytes(16));
  const Result<Digested> digested = fixture_.Store(source, 1);
  ASSERT_TRUE(digested.ok());
  uint64_t batch_bytes = 0;
  for (const Batch::Change& change : digested->batch.changes())
    batch_bytes += change.key.size() + (change.value ? change.value->size() : 0);
  EXPECT_LE(batch_bytes, 4 * kMiB);
  EXPECT_GE(fixture_.packs().syncs(), 2u);
  const auto reader = fixture_.Open(1, source.size_bytes());
  for (int i = 0; i < 1000; ++i) {
    const uint64_t at = random_.Below(source.size_bytes() - 100'000);
    std::string expected(100'000, '?');
    ASSERT_TRUE(
        source.ReadAt(at, {reinterpret_cast<uint8_t*>(expected.data()), expected.size()}).ok());
    ASSERT_TRUE(testing::Flat(*reader->Read(at, expected.size())) == expected);
  }
}

TEST_F(ContentStoreTest, SourceThatShrinksIsBusy) {
  class Shrinking final : public ContentSource {
   public:
    uint64_t size_bytes() const override { return 4 * kMiB; }
    Result<ByteRange> NextData(uint64_t offset) override { return ByteRange{offset, size_bytes()}; }
    Result<size_t> ReadAt(uint64_t offset, MutableBytes out) override {
      std::fill(out.begin(), out.end(), uint8_t{7});
      return offset >= kMiB ? 0 : std::min<size_t>(out.size(), static_cast<size_t>(kMiB - offset));
    }
    bool Cancelled() override { return false; }
  };
  Shrinking source;
  EXPECT_EQ(fixture_.Store(source, 1).status().code(), Code::kBusy);
}

// ---- contents that are others, changed

TEST_F(ContentStoreTest, OneByteOfManyStoresLittleAndTouchesLittle) {
  const std::string bytes = random_.Bytes(64 * kMiB);
  ASSERT_TRUE(fixture_.Store(bytes, 1).ok());
  for (const uint64_t at : {uint64_t{0}, uint64_t{512 << 10}, 30 * kMiB + 5, 64 * kMiB - 1}) {
    const Edited edited = Edit(bytes, 1, {{at, at + 1}}, &random_);
    TestSource source(edited.bytes);
    const Result<Digested> digested = fixture_.Store(source, 2, edited.base);
    ASSERT_TRUE(digested.ok());
    EXPECT_LE(digested->new_bytes, kChunkBytesMax);
    EXPECT_EQ(digested->new_bytes + digested->shared_bytes, bytes.size());
    EXPECT_LE(source.bytes_read(), 2 * kMiB);
    ExpectContent(2, edited.bytes);
  }
}

TEST_F(ContentStoreTest, NothingChangedStoresNothing) {
  const std::string bytes = random_.Bytes(9 * kMiB);
  ASSERT_TRUE(fixture_.Store(bytes, 1).ok());
  EXPECT_EQ(StoreEdited({bytes, {1, bytes.size(), {}}}, 2).new_bytes, 0u);
}

TEST_F(ContentStoreTest, LogThatGrowsDoesNotFallApart) {
  std::string bytes = random_.Bytes(2 * kMiB);
  ASSERT_TRUE(fixture_.Store(bytes, 1).ok());
  for (ContentId id = 2; id < 1000; ++id) {
    const uint64_t valid = bytes.size();
    bytes += random_.Bytes(200);
    TestSource source(bytes);
    ASSERT_TRUE(fixture_.Store(source, id, DigestBase{id - 1, valid, {}}).ok());
  }
  ExpectContent(999, bytes);
  EXPECT_LE(fixture_.Pieces(999).size(), 45u);
}

TEST_F(ContentStoreTest, AnyEditsReadBack) {
  // Text-like and dense contents, with holes; edits, truncations and extensions.
  std::string bytes;
  TestSource* source = nullptr;
  std::unique_ptr<TestSource> owned;
  ContentId last = 0;
  for (uint64_t round = TestRounds(60); round > 0; --round) {
    std::optional<DigestBase> base;
    if (last == 0 || random_.Chance(1, 8)) {
      bytes = random_.Bytes(random_.Between(1, 14 * kMiB));
    } else {
      base = DigestBase{last, bytes.size(), {}};
      if (random_.Chance(1, 3)) {
        bytes.resize(random_.Below(bytes.size() + 1));
        base->valid_bytes = bytes.size();
      }
      if (random_.Chance(1, 3)) bytes += random_.Bytes(random_.Below(3 * kMiB));
      for (uint64_t at = 0; at < base->valid_bytes;) {
        at += random_.Below(base->valid_bytes + 1);
        const uint64_t size = std::min(random_.Between(1, 300'000),
                                       base->valid_bytes - std::min(at, base->valid_bytes));
        if (size == 0) break;
        base->changed.push_back({at, at + size});
        bytes.replace(at, size,
                      random_.Chance(1, 4) ? std::string(size, '\0') : random_.Bytes(size));
        at += size;
      }
    }
    owned = std::make_unique<TestSource>(bytes.size());
    source = owned.get();
    // Some zero runs are holes to the source, some are data.
    for (size_t at = 0; at < bytes.size();) {
      const size_t end =
          std::min(bytes.size(), at + static_cast<size_t>(random_.Between(1, 2 * kMiB)));
      const std::string part = bytes.substr(at, end - at);
      if (part.find_first_not_of('\0') != std::string::npos) source->Put(at, part);
      at = end;
    }
    const ContentId id = last + 1;
    const Result<Digested> digested = fixture_.Store(*source, id, base);
    ASSERT_TRUE(digested.ok()) << digested.status().ToString();
    ASSERT_NO_FATAL_FAILURE(ExpectContent(id, bytes)) << "content " << id;
    last = bytes.empty() ? 0 : id;
  }
}

TEST_F(ContentStoreTest, HoleOfTheBaseIsDividedByAChange) {
  const uint64_t size = uint64_t{1} << 40;
  TestSource empty(size);
  ASSERT_TRUE(fixture_.Store(empty, 1).ok());
  TestSource changed(size);
  changed.Put(size / 2, "hello");
  const Result<Digested> digested =
      fixture_.Store(changed, 2, DigestBase{1, size, {{size / 2, size / 2 + 5}}});
  ASSERT_TRUE(digested.ok());
  EXPECT_EQ(digested->new_bytes, 5u);
  const auto reader = fixture_.Open(2, size);
  EXPECT_EQ(*reader->Seek(0, SEEK_DATA), size / 2);
  EXPECT_EQ(testing::Flat(*reader->Read(size / 2 - 1, 7)), std::string("\0hello\0", 7));
}

}  // namespace
}  // namespace varve
