// Packs that are closed and removed while others read from them.

#include <gtest/gtest.h>

#include <atomic>
#include <filesystem>
#include <string>
#include <thread>
#include <vector>

#include "fs/core/chunk_reads.h"
#include "fs/core/content_inflight.h"
#include "fs/core/content_recipe.h"
#include "fs/core/keys.h"
#include "tests/support/map_catalog.h"
#include "tests/support/pack_fixture.h"

namespace varve {
namespace {

using testing::MapCatalog;
using testing::PackFixture;
using testing::RandomBytes;
using testing::Stored;

class PackRemovalTest : public PackFixture {
 protected:
  // Descriptors of this process that lead to the removed file of `pack`.
  size_t OpenDescriptors(uint32_t pack) const {
    size_t found = 0;
    std::error_code error;
    for (const auto& entry : std::filesystem::directory_iterator("/proc/self/fd")) {
      const std::string target = std::filesystem::read_symlink(entry.path(), error).string();
      if (!error && target == PackPath(pack) + " (deleted)") ++found;
    }
    return found;
  }
  uint64_t BytesOnDisk(uint32_t pack) const { return std::filesystem::file_size(PackPath(pack)); }
};

TEST_F(PackRemovalTest, SealStartsANewPack) {
  ASSERT_TRUE(store_->Seal().ok());
  EXPECT_TRUE(store_->Packs().empty());
  const std::vector<Stored> first = AppendMany(10, 50'000, 1);
  ASSERT_EQ(store_->Infos().size(), 1u);
  EXPECT_TRUE(store_->Infos()[0].writing);
  // Also when all of it is durable already.
  ASSERT_TRUE(store_->Sync().ok());
  ASSERT_TRUE(store_->Seal().ok());
  ASSERT_EQ(store_->Infos().size(), 1u);
  EXPECT_FALSE(store_->Infos()[0].writing);
  EXPECT_EQ(store_->Infos()[0].bytes, BytesOnDisk(1));
  ASSERT_TRUE(store_->Seal().ok());
  EXPECT_EQ(store_->Infos().size(), 1u);

  const std::vector<Stored> second = AppendMany(10, 50'000, 2);
  EXPECT_EQ(second[0].location.pack, 2u);
  ASSERT_TRUE(store_->Seal().ok());
  EXPECT_FALSE(store_->Infos()[1].writing);
  ExpectReadable(first);
  ExpectReadable(second);
  // As a crash would leave them now, both are sealed and whole.
  CrashAndReopen();
  ExpectScanned(first, false);
  ExpectScanned(second, true);
  EXPECT_EQ(store_->Usage().bytes, BytesOnDisk(1) + BytesOnDisk(2));
}

TEST_F(PackRemovalTest, OnlySealedPacksAreRemoved) {
  const std::vector<Stored> first = AppendMany(5, 50'000, 1);
  EXPECT_EQ(store_->Remove(1).code(), Code::kBusy);
  EXPECT_EQ(store_->Remove(0).code(), Code::kNotFound);
  EXPECT_EQ(store_->Remove(2).code(), Code::kNotFound);
  ASSERT_TRUE(store_->Seal().ok());
  const std::vector<Stored> second = AppendMany(5, 50'000, 2);
  ASSERT_TRUE(store_->Remove(1).ok());
  EXPECT_EQ(store_->Remove(1).code(), Code::kNotFound);
  EXPECT_FALSE(std::filesystem::exists(PackPath(1)));
  EXPECT_EQ(store_->Packs(), std::vector<uint32_t>{2});
  EXPECT_EQ(store_->Usage().packs, 1u);
  EXPECT_EQ(ReadOne(first[0]).code(), Code::kNotFound);
  testing::Scanned scanned;
  EXPECT_EQ(ScanInto(1, false, scanned).code(), Code::kNotFound);
  ExpectReadable(second);
  Reopen();
  EXPECT_EQ(store_->Usage().bytes, BytesOnDisk(2));
  // One that an earlier session wrote.
  ASSERT_TRUE(store_->Remove(2).ok());
  EXPECT_TRUE(store_->Packs().empty());
  EXPECT_EQ(store_->Usage().bytes, 0u);
}

TEST_F(PackRemovalTest, TheDiskGetsItsSpaceBack) {
  const std::vector<Stored> stored = AppendMany(5, 50'000, 1);
  ASSERT_TRUE(store_->Seal().ok());
  ExpectReadable(stored, ReadFrom::kDisk);
  ExpectReadable(stored, ReadFrom::kPageCache);
  ASSERT_TRUE(store_->Remove(1).ok());
  EXPECT_EQ(OpenDescriptors(1), 0u);
  EXPECT_EQ(ReadOne(stored[0]).code(), Code::kNotFound);
}

TEST_F(PackRemovalTest, ReadersOfMovedChunksLookAgain) {
  MapCatalog catalog;
  Stored chunk = Append(RandomBytes(30'000, 1));
  const auto name = [&](const ChunkLocation& location) {
    Batch batch;
    batch.Put(key::Chunk(chunk.id), EncodeLocation(location));
    ASSERT_TRUE(catalog.Apply(batch).ok());
  };
  name(chunk.location);
  ASSERT_TRUE(store_->Seal().ok());
  const Stored copy = Append(chunk.bytes);
  ASSERT_TRUE(store_->Sync().ok());
  name(copy.location);
  ASSERT_TRUE(store_->Remove(chunk.location.pack).ok());
  const auto read = [&](const ChunkLocation& location) {
    std::vector<uint8_t> out(chunk.bytes.size());
    ChunkRead one{chunk.id, location, out, {}};
    const Status status = ReadChunks(catalog, *store_, {&one, 1});
    EXPECT_EQ(status.code(), one.status.code());
    if (status.ok()) {
      EXPECT_TRUE(out == chunk.bytes);
      EXPECT_EQ(one.location, copy.location);
    }
    return status;
  };
  EXPECT_TRUE(read(chunk.location).ok());
  EXPECT_TRUE(read(copy.location).ok());
  // The index still names a pack that is gone, or does not know the chunk: damage.
  name(chunk.location);
  EXPECT_EQ(read(chunk.location).code(), Code::kCorrupt);
  Batch batch;
  batch.Delete(key::Chunk(chunk.id));
  ASSERT_TRUE(catalog.Apply(batch).ok());
  EXPECT_EQ(read(chunk.location).code(), Code::kCorrupt);
}

// One thread moves all chunks to new packs, over and over, by appending them again;
// the others read by what the index says.
TEST_F(PackRemovalTest, ManyReadersBesideRemovals) {
  MapCatalog catalog;
  std::vector<Stored> stored = AppendMany(40, 60'000, 1);
  const auto name = [&] {
    Batch batch;
    for (const Stored& chunk : stored)
      batch.Put(key::Chunk(chunk.id), EncodeLocation(chunk.location));
    ASSERT_TRUE(catalog.Apply(batch).ok());
  };
  name();
  const std::vector<Stored> constant = stored;  // ids and bytes; read by all threads
  std::atomic<bool> stop = false;
  std::atomic<int> failures = 0;
  std::atomic<uint64_t> reads_done = 0;
  std::vector<std::thread> readers;
  for (uint64_t seed = 1; seed <= 3; ++seed) {
    readers.emplace_back([&, seed] {
      std::mt19937_64 random(seed);
      while (!stop) {
        std::vector<std::vector<uint8_t>> out(8);
        std::vector<ChunkRead> reads;
        std::vector<const Stored*> wanted;
        for (auto& bytes : out) {
          const Stored& chunk = constant[random() % constant.size()];
          bytes.resize(chunk.bytes.size());
          reads.push_back({chunk.id, **FindLocation(catalog, chunk.id), bytes, {}});
          wanted.push_back(&chunk);
        }
        const ReadFrom from = random() % 2 == 0 ? ReadFrom::kDisk : ReadFrom::kPageCache;
        if (!ReadChunks(catalog, *store_, reads, from).ok()) ++failures;
        for (size_t i = 0; i < out.size(); ++i)
          if (out[i] != wanted[i]->bytes) ++failures;
        ++reads_done;
      }
    });
  }
  const auto collect = [&] {
    ASSERT_TRUE(store_->Seal().ok());
    const std::vector<uint32_t> old = store_->Packs();
    for (Stored& chunk : stored) chunk = Append(chunk.bytes);
    ASSERT_TRUE(store_->Sync().ok());
    name();
    for (const uint32_t pack : old) ASSERT_TRUE(store_->Remove(pack).ok());
  };
  for (int round = 0; (round < 60 || reads_done < 200) && failures == 0; ++round) collect();
  stop = true;
  for (std::thread& reader : readers) reader.join();
  EXPECT_EQ(failures, 0);
  EXPECT_EQ(store_->Packs().size(), 1u);
  ExpectReadable(stored);
}

TEST(InFlightChunksTest, TellsACollectorWhoUsesAPack) {
  InFlightChunks chunks;
  MapCatalog catalog;
  const ChunkId a{{1}}, b{{2}};
  chunks.Add(a, {1, 64, 10, 10, Encoding::kRaw});
  chunks.Add(b, {2, 64, 10, 10, Encoding::kRaw});
  EXPECT_TRUE(chunks.UsesPack(1));
  EXPECT_FALSE(chunks.UsesPack(3));
  chunks.Release({a}, catalog);  // its digest was cancelled: a leftover
  EXPECT_TRUE(chunks.Acquire(a).has_value());
  EXPECT_TRUE(chunks.UsesPack(1));
  chunks.Release({a}, catalog);
  EXPECT_FALSE(chunks.UsesPack(1));
  EXPECT_FALSE(chunks.Acquire(a).has_value());
  EXPECT_TRUE(chunks.UsesPack(2));
  chunks.Replace(b, {3, 64, 10, 10, Encoding::kRaw});
  EXPECT_FALSE(chunks.UsesPack(2));
  EXPECT_TRUE(chunks.UsesPack(3));
  chunks.Release({b, b}, catalog);
  EXPECT_FALSE(chunks.UsesPack(3));
  EXPECT_EQ(chunks.size(), 0u);
}

}  // namespace
}  // namespace varve
