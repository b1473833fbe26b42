// Chunks coded anew: what they are is the same, and can be read, whatever was asked for.
#include "fs/core/chunk_recoder.h"

#include <gtest/gtest.h>

#include <cstring>
#include <random>
#include <vector>

#include "fs/core/chunk_reads.h"
#include "fs/core/content_recipe.h"
#include "tests/support/map_catalog.h"
#include "tests/support/pack_fixture.h"

namespace varve {
namespace {

using testing::MapCatalog;
using testing::PackFixture;
using testing::Stored;

class ChunkRecoderTest : public PackFixture {
 protected:
  // Versions of the same weights.
  std::vector<Stored> Versions(size_t count, uint64_t seed = 1) {
    std::mt19937_64 random(seed);
    std::normal_distribution<float> weight(0, 0.02f), step(0, 1e-6f);
    std::vector<float> floats(20'000);
    for (float& value : floats) value = weight(random);
    std::vector<Stored> versions;
    for (size_t i = 0; i < count; ++i) {
      for (float& value : floats) value += step(random);
      std::vector<uint8_t> bytes(floats.size() * sizeof(float));
      std::memcpy(bytes.data(), floats.data(), bytes.size());
      versions.push_back(Append(std::move(bytes)));
      Index(versions.back().id, versions.back().location);
    }
    EXPECT_TRUE(store_->Sync().ok());
    return versions;
  }

  void Index(const ChunkId& id, const ChunkLocation& location) {
    Batch batch;
    batch.Put(key::Chunk(id), EncodeLocation(location));
    ASSERT_TRUE(catalog_.Apply(batch).ok());
  }
  ChunkLocation PlaceOf(const Stored& chunk) { return **FindLocation(catalog_, chunk.id); }
  bool IsMade(const Stored& chunk) { return HasBase(PlaceOf(chunk).encoding); }

  static ChunkTask Task(const Stored& chunk, const ChunkLocation& from, const Stored& base) {
    return {chunk.id,           from, base.id, ElementType::kF32, ElementType::kF32,
            chunk.bytes.size(), false};
  }
  size_t Recode(std::vector<ChunkTask> tasks) {
    ChunkRecoder recoder(catalog_, *store_);
    EXPECT_TRUE(recoder.Recode(tasks).ok());
    EXPECT_TRUE(recoder.Settle().ok());
    return recoder.counts().chunks;
  }
  void ExpectAllReadable(const std::vector<Stored>& chunks) {
    for (const Stored& chunk : chunks) {
      std::vector<uint8_t> out(chunk.bytes.size());
      ChunkRead read{chunk.id, PlaceOf(chunk), out};
      const Status status = ReadChunks(catalog_, *store_, {&read, 1});
      ASSERT_TRUE(status.ok()) << status.ToString();
      EXPECT_TRUE(out == chunk.bytes);
    }
  }

  MapCatalog catalog_;
};

TEST_F(ChunkRecoderTest, FromABaseAndByItselfAgain) {
  const auto v = Versions(2);
  EXPECT_EQ(Recode({Task(v[1], v[1].location, v[0])}), 1u);
  EXPECT_EQ(PlaceOf(v[1]).base, v[0].id);
  EXPECT_LT(PlaceOf(v[1]).stored_bytes, v[1].location.stored_bytes / 2);
  ExpectAllReadable(v);
  ChunkTask alone;
  alone.id = v[1].id;
  alone.from = PlaceOf(v[1]);
  alone.bytes_max = v[1].bytes.size();
  EXPECT_EQ(Recode({alone}), 1u);
  EXPECT_FALSE(IsMade(v[1]));
  EXPECT_EQ(PlaceOf(v[1]).encoding, Encoding::kPlanes);
  ExpectAllReadable(v);
}

TEST_F(ChunkRecoderTest, EachFromTheOther) {
  const auto v = Versions(2);
  EXPECT_EQ(Recode({Task(v[0], v[0].location, v[1]), Task(v[1], v[1].location, v[0])}), 1u);
  EXPECT_NE(IsMade(v[0]), IsMade(v[1]));
  ExpectAllReadable(v);
}

TEST_F(ChunkRecoderTest, InACircle) {
  const auto v = Versions(5);
  std::vector<ChunkTask> tasks;
  for (size_t i = 0; i < v.size(); ++i)
    tasks.push_back(Task(v[i], v[i].location, v[(i + 1) % v.size()]));
  EXPECT_LT(Recode(tasks), v.size());
  ExpectAllReadable(v);
  // And with places that are settled already.
  for (size_t i = v.size(); i > 0; --i)
    Recode({Task(v[i - 1], PlaceOf(v[i - 1]), v[i % v.size()])});
  ExpectAllReadable(v);
}

TEST_F(ChunkRecoderTest, ChainsEndBeforeTheyAreTooLongToRead) {
  const auto v = Versions(20);
  for (size_t i = 1; i < v.size(); ++i) Recode({Task(v[i], v[i].location, v[i - 1])});
  ExpectAllReadable(v);
  std::vector<ChunkTask> at_once;
  const auto w = Versions(20, 2);
  for (size_t i = 1; i < w.size(); ++i) at_once.push_back(Task(w[i], w[i].location, w[i - 1]));
  EXPECT_GT(Recode(at_once), 0u);
  ExpectAllReadable(w);
}

TEST_F(ChunkRecoderTest, WhoeverGotAnotherPlaceMeanwhileKeepsIt) {
  const auto v = Versions(2);
  ChunkRecoder recoder(catalog_, *store_);
  std::vector<ChunkTask> tasks{Task(v[1], v[1].location, v[0])};
  ASSERT_TRUE(recoder.Recode(tasks).ok());
  EXPECT_TRUE(tasks[0].done);
  const Stored again = Append(v[1].bytes);
  ASSERT_TRUE(store_->Sync().ok());
  Index(again.id, again.location);
  ASSERT_TRUE(recoder.Settle().ok());
  EXPECT_EQ(recoder.counts().chunks, 0u);
  EXPECT_EQ(PlaceOf(v[1]), again.location);
  ExpectAllReadable(v);
}

TEST_F(ChunkRecoderTest, WhatDoesNotGainOrIsNotThereStays) {
  const auto v = Versions(1, 1);
  const auto strangers = Versions(1, 2);
  ChunkTask task = Task(v[0], v[0].location, strangers[0]);
  task.bytes_max = v[0].location.stored_bytes;
  EXPECT_EQ(Recode({task}), 0u);
  task.base = ChunkId{{9}};
  EXPECT_EQ(Recode({task}), 0u);
  task.id = ChunkId{{8}};
  EXPECT_EQ(Recode({task}), 0u);
  ExpectAllReadable(v);
}

}  // namespace
}  // namespace varve
