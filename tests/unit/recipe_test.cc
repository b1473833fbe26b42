#include <gtest/gtest.h>

#include "fs/core/content_recipe.h"
#include "tests/support/map_catalog.h"
#include "tests/support/seed.h"

namespace varve {
namespace {

using testing::Random;
using testing::TestRounds;
using testing::TestSeed;

ChunkId IdOf(uint8_t value) {
  ChunkId id;
  id.bytes.fill(value);
  return id;
}
Piece ChunkOf(uint64_t size, uint8_t value) { return {size, IdOf(value)}; }
Piece HoleOf(uint64_t size) { return {size, {}}; }

bool SamePieces(const std::vector<Piece>& a, const std::vector<Piece>& b) {
  return std::equal(a.begin(), a.end(), b.begin(), b.end(), [](const Piece& x, const Piece& y) {
    return x.size_bytes == y.size_bytes && x.id == y.id;
  });
}

// Writes a recipe as a digest does.
void Store(Catalog& catalog, ContentId content, const std::vector<Piece>& pieces) {
  RecipeWriter writer;
  Batch batch;
  const auto take = [&](bool last) {
    while (auto row = writer.Take(last))
      batch.Put(key::Recipe(content, row->end_bytes), row->value);
  };
  for (const Piece& piece : pieces) {
    writer.Add(piece);
    take(false);
  }
  take(true);
  ASSERT_TRUE(catalog.Apply(batch).ok());
}

TEST(Recipe, SegmentRoundTrip) {
  const std::vector<Piece> pieces = {ChunkOf(1, 1), HoleOf(uint64_t{1} << 44),
                                     ChunkOf(kChunkBytesMax, 255), ChunkOf(4096, 2)};
  uint64_t total = 0;
  for (const Piece& piece : pieces) total += piece.size_bytes;
  const Result<RecipeSegment> segment = DecodeSegment(total + 77, EncodeSegment(pieces));
  ASSERT_TRUE(segment.ok());
  EXPECT_EQ(segment->begin_bytes, 77u);
  EXPECT_EQ(segment->end_bytes, total + 77);
  EXPECT_TRUE(SamePieces(segment->pieces, pieces));
}

TEST(Recipe, SegmentOfFullChunksIsSmall) {
  const std::vector<Piece> pieces(kSegmentPiecesMax, ChunkOf(512 << 10, 9));
  EXPECT_LE(EncodeSegment(pieces).size(), 1900u);
}

TEST(Recipe, SegmentRefusesWhatNobodyWrote) {
  const std::string good = EncodeSegment(std::vector<Piece>{ChunkOf(100, 1), HoleOf(50)});
  EXPECT_TRUE(DecodeSegment(150, good).ok());
  EXPECT_EQ(DecodeSegment(149, good).status().code(), Code::kCorrupt);  // begins before 0
  EXPECT_EQ(DecodeSegment(150, good + "x").status().code(), Code::kCorrupt);
  for (size_t size = 0; size < good.size(); ++size)
    EXPECT_EQ(DecodeSegment(150, good.substr(0, size)).status().code(), Code::kCorrupt) << size;

  const auto encoded = [](uint64_t count, std::initializer_list<uint64_t> words, bool id) {
    std::string bytes;
    ByteWriter out(&bytes);
    out.U8(1);
    out.Varint(count);
    for (const uint64_t word : words) {
      out.Varint(word);
      if (id) out.Raw(IdOf(3).bytes);
    }
    return bytes;
  };
  const uint64_t far = uint64_t{1} << 61;
  EXPECT_TRUE(DecodeSegment(far, encoded(1, {10 << 1}, true)).ok());
  EXPECT_FALSE(DecodeSegment(far, encoded(0, {}, false)).ok());   // empty
  EXPECT_FALSE(DecodeSegment(far, encoded(1, {0}, true)).ok());   // no bytes
  EXPECT_FALSE(DecodeSegment(far, encoded(1, {1}, false)).ok());  // empty hole
  EXPECT_FALSE(DecodeSegment(far, encoded(1, {(kChunkBytesMax + 1ull) << 1}, true)).ok());
  EXPECT_FALSE(DecodeSegment(far, encoded(1, {~uint64_t{0}}, false)).ok());  // huge hole
  EXPECT_FALSE(DecodeSegment(far, encoded(97, {2}, true)).ok());
  EXPECT_FALSE(DecodeSegment(far, encoded(~uint64_t{0}, {2}, true)).ok());
}

TEST(Recipe, DecodersSurviveAnyBytes) {
  Random random(TestSeed());
  const std::string segment =
      EncodeSegment(std::vector<Piece>{ChunkOf(100, 1), HoleOf(50), ChunkOf(7, 2)});
  const std::string location = EncodeLocation({7, 4096, 1000, 2000, Encoding::kZstd});
  for (uint64_t round = TestRounds(20000); round > 0; --round) {
    for (std::string bytes : {segment, location}) {
      for (uint64_t n = random.Between(1, 4); n > 0; --n)
        bytes[random.Below(bytes.size())] = static_cast<char>(random.Below(256));
      bytes.resize(random.Below(bytes.size() + 1));
      const Result<RecipeSegment> decoded = DecodeSegment(157, bytes);
      if (decoded.ok()) {
        EXPECT_LE(decoded->pieces.size(), kSegmentPiecesMax);
      }
      const Result<ChunkLocation> place = DecodeLocation(bytes);
      if (place.ok()) {
        EXPECT_LE(place->raw_bytes, kChunkBytesMax);
      }
    }
  }
}

TEST(Recipe, LocationRoundTrip) {
  const ChunkLocation location{7, 4096, 1000, 2000, Encoding::kZstd};
  EXPECT_EQ(*DecodeLocation(EncodeLocation(location)), location);
  const ChunkLocation large{UINT32_MAX, UINT32_MAX, kChunkBytesMax, kChunkBytesMax, Encoding::kRaw};
  EXPECT_EQ(*DecodeLocation(EncodeLocation(large)), large);
  EXPECT_FALSE(DecodeLocation(EncodeLocation({0, 1, 1, 1, Encoding::kRaw})).ok());
  EXPECT_FALSE(DecodeLocation(EncodeLocation({1, 1, 1, 0, Encoding::kRaw})).ok());
}

TEST(Recipe, WriterJoinsHolesAndFillsSegments) {
  testing::MapCatalog catalog;
  std::vector<Piece> pieces;
  for (size_t i = 0; i < 95; ++i) pieces.push_back(ChunkOf(10, 1));
  pieces.push_back(HoleOf(5));  // the 96th, which goes on
  pieces.push_back(HoleOf(6));
  pieces.push_back(ChunkOf(10, 2));
  Store(catalog, 3, pieces);

  const Result<std::optional<RecipeSegment>> first = FindSegment(catalog, 3, 0);
  ASSERT_TRUE(first.ok() && *first);
  EXPECT_EQ((*first)->pieces.size(), kSegmentPiecesMax);
  EXPECT_EQ((*first)->end_bytes, 961u);
  EXPECT_EQ((*first)->pieces.back().size_bytes, 11u);
  const Result<std::optional<RecipeSegment>> second = FindSegment(catalog, 3, 961);
  ASSERT_TRUE(second.ok() && *second);
  EXPECT_EQ((*second)->begin_bytes, 961u);
  EXPECT_EQ((*second)->end_bytes, 971u);
  EXPECT_FALSE(*FindSegment(catalog, 3, 971));
}

TEST(Recipe, CursorFindsEveryPieceAmongOtherContents) {
  testing::MapCatalog catalog;
  std::vector<Piece> pieces;
  for (size_t i = 0; i < 300; ++i)
    pieces.push_back(i % 7 == 0 ? HoleOf(i + 1)
                                : ChunkOf(i + 1, static_cast<uint8_t>(i % 250 + 1)));
  for (const ContentId content : {4, 5, 6}) Store(catalog, content, pieces);

  RecipeCursor cursor(catalog, 5);
  uint64_t begin = 0;
  for (const Piece& piece : pieces) {
    for (const uint64_t offset : {begin, begin + piece.size_bytes - 1}) {
      const Result<PlacedPiece> placed = cursor.At(offset);
      ASSERT_TRUE(placed.ok());
      EXPECT_EQ(placed->begin_bytes, begin);
      EXPECT_EQ(placed->piece.id, piece.id);
      EXPECT_EQ(placed->end_bytes(), begin + piece.size_bytes);
    }
    begin += piece.size_bytes;
  }
  EXPECT_EQ(cursor.At(begin).status().code(), Code::kCorrupt);
}

TEST(Recipe, GapIsDamage) {
  testing::MapCatalog catalog;
  Batch batch;
  batch.Put(key::Recipe(1, 100), EncodeSegment(std::vector<Piece>{ChunkOf(40, 1)}));
  ASSERT_TRUE(catalog.Apply(batch).ok());
  EXPECT_TRUE(FindSegment(catalog, 1, 60).ok());
  EXPECT_EQ(FindSegment(catalog, 1, 59).status().code(), Code::kCorrupt);
}

}  // namespace
}  // namespace varve
