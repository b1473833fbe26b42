// Reading differences: bases first, and theirs before; what happens when one is not there.
#include "fs/core/chunk_reads.h"

#include <gtest/gtest.h>

#include <cstring>
#include <random>
#include <string>
#include <vector>

#include "fs/core/content_recipe.h"
#include "tests/support/map_catalog.h"
#include "tests/support/pack_fixture.h"

namespace varve {
namespace {

using testing::MapCatalog;
using testing::PackFixture;
using testing::Stored;

constexpr size_t kFloats = 20'000;

std::vector<float> SomeFloats(uint64_t seed) {
  std::mt19937_64 random(seed);
  std::normal_distribution<float> weight(0, 0.02f);
  std::vector<float> floats(kFloats);
  for (float& value : floats) value = weight(random);
  return floats;
}

std::vector<float> Moved(std::vector<float> floats, uint64_t seed) {
  std::mt19937_64 random(seed);
  std::normal_distribution<float> step(0, 1e-5f);
  for (float& value : floats) value += step(random);
  return floats;
}

std::vector<uint8_t> BytesOf(const std::vector<float>& floats) {
  std::vector<uint8_t> bytes(floats.size() * sizeof(float));
  std::memcpy(bytes.data(), floats.data(), bytes.size());
  return bytes;
}

class ChunkReadsTest : public PackFixture {
 protected:
  Stored AppendDifference(std::vector<uint8_t> bytes, const Stored& base) {
    const ChunkId id = fingerprinter_.Name(bytes);
    const auto encoded =
        encoder_.EncodeDifference(bytes, base.bytes, base.id, ElementType::kF32, bytes.size());
    EXPECT_TRUE(encoded.has_value());
    const auto location = store_->Append(id, *encoded, RoomFor::kContent);
    EXPECT_TRUE(location.ok()) << location.status().ToString();
    EXPECT_EQ(location->base, base.id);
    EXPECT_EQ(location->encoding, Encoding::kDifference);
    return {id, *location, std::move(bytes)};
  }

  void Index(const Stored& chunk) {
    Batch batch;
    batch.Put(key::Chunk(chunk.id), EncodeLocation(chunk.location));
    ASSERT_TRUE(catalog_.Apply(batch).ok());
  }
  void Forget(const Stored& chunk) {
    Batch batch;
    batch.Delete(key::Chunk(chunk.id));
    ASSERT_TRUE(catalog_.Apply(batch).ok());
  }

  // A chain: each from the one before it.
  std::vector<Stored> Chain(size_t links) {
    std::vector<float> floats = SomeFloats(1);
    std::vector<Stored> chain = {Append(BytesOf(floats))};
    for (size_t i = 1; i <= links; ++i) {
      floats = Moved(std::move(floats), i);
      chain.push_back(AppendDifference(BytesOf(floats), chain.back()));
    }
    for (const Stored& chunk : chain) Index(chunk);
    return chain;
  }

  Status ReadAll(const std::vector<Stored>& stored, ReadFrom from = ReadFrom::kDisk) {
    std::vector<std::vector<uint8_t>> out;
    std::vector<ChunkRead> reads;
    for (const Stored& chunk : stored) out.emplace_back(chunk.bytes.size());
    for (size_t i = 0; i < stored.size(); ++i)
      reads.push_back({stored[i].id, stored[i].location, out[i]});
    const Status status = ReadChunks(catalog_, *store_, reads, from);
    for (size_t i = 0; i < stored.size(); ++i) {
      if (reads[i].status.ok()) {
        EXPECT_TRUE(out[i] == stored[i].bytes) << "chunk " << i;
      }
    }
    return status;
  }

  MapCatalog catalog_;
};

TEST_F(ChunkReadsTest, ChainsAreReadFromMemoryFromDiskAndAfterReopening) {
  std::vector<Stored> chain = Chain(kBaseLinksMax);
  for (int i = 0; i < 2; ++i) {
    for (const ReadFrom from : {ReadFrom::kDisk, ReadFrom::kPageCache}) {
      const Status all = ReadAll(chain, from);
      EXPECT_TRUE(all.ok()) << all.ToString();
      for (const Stored& chunk : chain) EXPECT_TRUE(ReadAll({chunk}, from).ok());
    }
    Reopen();
  }
}

TEST_F(ChunkReadsTest, MoreThanFitsAtOnce) {
  const std::vector<float> floats = SomeFloats(3);
  std::vector<Stored> stored = {Append(BytesOf(floats))};
  Index(stored[0]);
  for (uint64_t i = 0; i < 300; ++i) {  // 24 MB
    stored.push_back(AppendDifference(BytesOf(Moved(floats, i)), stored[0]));
    Index(stored.back());
  }
  EXPECT_TRUE(ReadAll(stored).ok());
}

TEST_F(ChunkReadsTest, ALongerChainIsRefused) {
  const std::vector<Stored> chain = Chain(kBaseLinksMax + 1);
  const Status status = ReadAll({chain.back()});
  EXPECT_EQ(status.code(), Code::kCorrupt);
  EXPECT_TRUE(ReadAll({chain[kBaseLinksMax]}).ok());
}

TEST_F(ChunkReadsTest, AMissingBaseIsToldByName) {
  const std::vector<Stored> chain = Chain(2);
  Forget(chain[0]);
  const Status status = ReadAll(chain);
  EXPECT_EQ(status.code(), Code::kCorrupt);
  const Status last = ReadAll({chain[2]});
  EXPECT_EQ(last.code(), Code::kCorrupt);
  EXPECT_NE(last.context().find(ToText(chain[0].id)), std::string_view::npos) << last.ToString();
}

// Between a look into the index and the read it was coded anew, and its base collected.
TEST_F(ChunkReadsTest, AChunkThatNeedsItsBaseNoMore) {
  const std::vector<Stored> chain = Chain(1);
  Stored alone = Append(chain[1].bytes);
  ASSERT_TRUE(store_->Sync().ok());
  Index(alone);
  Forget(chain[0]);
  EXPECT_TRUE(ReadAll({chain[1]}).ok());
}

TEST_F(ChunkReadsTest, ABaseOfAnotherSize) {
  const std::vector<Stored> chain = Chain(1);
  Stored other = Append({1, 2, 3});
  other.id = chain[0].id;
  Index(other);
  EXPECT_EQ(ReadAll({chain[1]}).code(), Code::kCorrupt);
}

TEST_F(ChunkReadsTest, ADifferenceOfItself) {
  std::vector<Stored> chain = Chain(1);
  Stored loop = chain[0];
  loop.location = chain[1].location;
  loop.location.base = chain[0].id;
  Index(loop);
  EXPECT_EQ(ReadAll({chain[1]}).code(), Code::kCorrupt);
}

TEST_F(ChunkReadsTest, ThePacksWantTheBase) {
  const std::vector<Stored> chain = Chain(1);
  ASSERT_TRUE(store_->Sync().ok());
  EXPECT_EQ(ReadOne(chain[1]).code(), Code::kCorrupt);
  Stored wrong = chain[1];
  wrong.location.base = chain[1].id;
  EXPECT_EQ(ReadOne(wrong).code(), Code::kCorrupt);
  wrong.location.base = {};
  EXPECT_EQ(ReadOne(wrong).code(), Code::kCorrupt);
}

TEST_F(ChunkReadsTest, ScansTellTheBaseOfSealedAndOfOpenPacks) {
  const std::vector<Stored> chain = Chain(3);
  ASSERT_TRUE(store_->Sync().ok());
  for (int i = 0; i < 2; ++i) {
    ExpectScanned(chain, false);
    ExpectScanned(chain, true);
    ASSERT_TRUE(store_->Seal().ok());
  }
}

TEST_F(ChunkReadsTest, MovedDifferencesKeepTheirBase) {
  const std::vector<Stored> chain = Chain(2);
  ASSERT_TRUE(store_->Seal().ok());
  std::vector<ChunkMove> moves;
  for (const Stored& chunk : chain) moves.push_back({chunk.id, chunk.location, {}, {}});
  ASSERT_TRUE(store_->Move(moves).ok());
  ASSERT_TRUE(store_->Sync().ok());
  std::vector<Stored> moved = chain;
  for (size_t i = 0; i < chain.size(); ++i) {
    EXPECT_EQ(moves[i].to.base, chain[i].location.base);
    moved[i].location = moves[i].to;
    Index(moved[i]);
  }
  EXPECT_TRUE(ReadAll(moved).ok());
  EXPECT_TRUE(ReadAll(chain).ok());  // whose old places are still there
}

}  // namespace
}  // namespace varve
