// Codes stored chunks anew, as differences or casts from others or by themselves, and
// places them in the index where they lie then. What they were before is dead, and the
// packs' business.
//
// REQUIRES: only whoever removes chunks (collect_chunks.h) uses it, on the same thread: a
// base is there as long as its row is, and nobody else codes chunks with bases.
//
// Threads: belongs to one thread.
// Errors:  kNoSpace, kIo, kReadOnly as the packs say; those of the catalog. A chunk that
//          cannot be read, or does not gain, is not recoded.
// Memory:  three times the chunks of a call.
#pragma once

#include <optional>
#include <span>
#include <unordered_map>
#include <vector>

#include "index/catalog.h"
#include "store/codec/codec.h"
#include "store/pack/pack_store.h"

namespace varve {

struct ChunkTask {
  ChunkId id;
  ChunkLocation from;
  ChunkId base{};  // all zero: by itself
  ElementType elements = ElementType::kBytes;
  ElementType base_elements = ElementType::kBytes;  // as elements: a difference; else a cast
  size_t bytes_max = 0;                             // more is no gain
  bool done = false;  // by Recode(): appended, and in the index after the next Settle()
};

class ChunkRecoder {
 public:
  struct Counts {
    uint64_t chunks = 0;
    uint64_t bytes_before = 0;  // in packs
    uint64_t bytes_after = 0;
  };
  ChunkRecoder(Catalog& catalog, PackStore& packs) : catalog_(catalog), packs_(packs) {}

  // REQUIRES: each chunk once between two calls of Settle().
  Status Recode(std::span<ChunkTask> tasks);
  // Until here all is as it was. A chunk that has got another place meanwhile keeps that; so does
  // one whose bases would lead back to it, or too far. REQUIRES: nothing in the index is made from
  // the chunks that get a base.
  Status Settle();

  const Counts& counts() const { return counts_; }
  uint64_t appended_bytes() const { return appended_bytes_; }

 private:
  struct Placed {
    ChunkId id;
    ChunkLocation from, to;
  };

  using Places = std::unordered_map<ChunkId, ChunkLocation, ChunkIdHash>;
  // Whether the bases of `chunk` end, in few links, and not in itself. `settled`: what goes before
  // the index.
  Result<bool> HasEnd(const Placed& chunk, const Places& settled);
  Status RecodeOne(ByteView raw, ByteView base, ChunkTask* task);
  EncodedChunk EncodeAlone(ByteView raw);
  std::optional<EncodedChunk> EncodeFrom(ByteView raw, ByteView base, const ChunkTask& task);

  Catalog& catalog_;
  PackStore& packs_;
  Encoder encoder_;
  Decoder decoder_;
  std::vector<uint8_t> memory_, again_;
  std::vector<Placed> placed_;
  Counts counts_;
  uint64_t appended_bytes_ = 0;
};

}  // namespace varve
