// Chunks that are copied to another pack as they are.

#include <gtest/gtest.h>

#include <algorithm>
#include <vector>

#include "store/pack/pack_format.h"
#include "tests/support/pack_fixture.h"

namespace varve {
namespace {

using testing::PackFixture;
using testing::SomeBytes;
using testing::Stored;

class PackMoveTest : public PackFixture {
 protected:
  static std::vector<ChunkMove> MovesOf(const std::vector<Stored>& stored) {
    std::vector<ChunkMove> moves;
    for (const Stored& chunk : stored)
      moves.push_back({chunk.id, chunk.location, {}, Status(Code::kBusy)});
    return moves;
  }
  // The same chunks at their new places; what failed is left out.
  static std::vector<Stored> Moved(std::vector<Stored> stored,
                                   const std::vector<ChunkMove>& moves) {
    std::vector<Stored> moved;
    for (size_t i = 0; i < stored.size(); ++i) {
      if (!moves[i].status.ok()) continue;
      moved.push_back(std::move(stored[i]));
      moved.back().location = moves[i].to;
    }
    return moved;
  }
};

TEST_F(PackMoveTest, WhatIsMovedIsTheSame) {
  options_.pack_bytes_target = 4 << 20;
  Reopen();
  std::vector<Stored> stored = AppendMany(400, 120'000, 1);
  // The largest there are, and the smallest.
  for (const uint64_t seed : {2u, 4u, 5u})
    stored.push_back(Append(SomeBytes(kChunkBytesMax, seed)));
  stored.push_back(Append({7}));
  ASSERT_TRUE(store_->Seal().ok());
  const std::vector<uint32_t> old = store_->Packs();
  ASSERT_GT(old.size(), 2u);
  // Every third stays behind and goes with its pack; the order is not that of the disk.
  std::vector<Stored> kept;
  for (size_t i = 0; i < stored.size(); ++i)
    if (i % 3 != 0) kept.push_back(stored[i]);
  std::reverse(kept.begin(), kept.end());
  std::vector<ChunkMove> moves = MovesOf(kept);
  ASSERT_TRUE(store_->Move(moves).ok());
  for (const ChunkMove& move : moves) {
    EXPECT_TRUE(move.status.ok());
    EXPECT_GT(move.to.pack, old.back());
    EXPECT_EQ(move.to.stored_bytes, move.from.stored_bytes);
    EXPECT_EQ(move.to.encoding, move.from.encoding);
  }
  const std::vector<Stored> moved = Moved(kept, moves);
  ExpectReadable(moved);
  ExpectReadable(kept);
  ASSERT_TRUE(store_->Sync().ok());
  for (const uint32_t pack : old) ASSERT_TRUE(store_->Remove(pack).ok());
  ExpectReadable(moved);
  ExpectScanned(moved, true);
  CrashAndReopen();
  ExpectReadable(moved);
  ExpectScanned(moved, true);
}

TEST_F(PackMoveTest, ADamagedOneStays) {
  const std::vector<Stored> stored = AppendMany(30, 50'000, 1);
  ASSERT_TRUE(store_->Seal().ok());
  std::vector<ChunkMove> moves = MovesOf(stored);
  Overwrite(1, stored[3].location.offset_bytes + kHeaderBytes, "!!!!");
  Overwrite(1, stored[5].location.offset_bytes + 8, "!!!!");  // its header
  std::swap(moves[7].id, moves[8].id);
  moves[10].from.offset_bytes += kRecordAlignment;
  moves[11].from.offset_bytes = 0xffff0000;
  moves[12].from.stored_bytes -= 1;
  moves[13].from.raw_bytes = 0;
  moves[14].from.pack = 99;
  EXPECT_FALSE(store_->Move(moves).ok());
  const auto expected = [](size_t i) {
    if (i == 14) return Code::kNotFound;
    for (const size_t damaged : {3u, 5u, 7u, 8u, 10u, 11u, 12u, 13u})
      if (i == damaged) return Code::kCorrupt;
    return Code::kOk;
  };
  for (size_t i = 0; i < moves.size(); ++i) {
    EXPECT_EQ(moves[i].status.code(), expected(i)) << i;
    EXPECT_EQ(moves[i].to.pack != 0, moves[i].status.ok()) << i;
  }
  ExpectReadable(Moved(stored, moves));
  EXPECT_TRUE(ReadOne(stored[5]).ok());
}

TEST_F(PackMoveTest, WhatIsBeingWrittenStays) {
  const std::vector<Stored> stored = AppendMany(3, 50'000, 1);
  ASSERT_TRUE(store_->Sync().ok());
  std::vector<ChunkMove> moves = MovesOf(stored);
  EXPECT_EQ(store_->Move(moves).code(), Code::kBusy);
  ASSERT_TRUE(store_->Seal().ok());
  EXPECT_TRUE(store_->Move(moves).ok());
  ExpectReadable(Moved(stored, moves));
}

}  // namespace
}  // namespace varve
