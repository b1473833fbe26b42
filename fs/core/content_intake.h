// Decides for each chunk of a content whether it is stored already, and stores it
// if not.
//
// A chunk is shared only after its bytes were compared with the stored ones. If
// they differ (two chunks of one name) or cannot be read, the chunk is cut in two
// halves that are taken in like any others: halves have names of their own, so a
// collision costs a few bytes and never data, and readers need not know about it.
// A single byte has no halves; if its stored copy is damaged, it is stored anew
// under its name, which no other single byte has.
//
// Threads: an intake belongs to one thread; many may work on one store.
// Memory:  about the size of what Take() is given.
// Errors:  kBusy: cancelled; kNoSpace, kIo, kReadOnly as the packs say.
#pragma once

#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <unordered_map>
#include <vector>

#include "fs/core/content_inflight.h"
#include "fs/core/content_ledger.h"
#include "store/chunk/fingerprint.h"
#include "store/codec/codec.h"
#include "store/pack/pack_store.h"

namespace varve {

// A chunk as it was cut.
struct CutChunk {
  ByteView bytes;
  ElementType elements = ElementType::kBytes;
};

class ChunkIntake {
 public:
  ChunkIntake(Catalog& catalog, PackStore& packs, const Fingerprinter& fingerprinter,
              InFlightChunks& in_flight);

  // Takes the next chunks of a content, in order, and adds them to the ledger.
  // `cancelled` is asked before each. REQUIRES: none is longer than kChunkBytesMax.
  Status Take(std::span<const CutChunk> chunks, DigestLedger& ledger,
              const std::function<bool()>& cancelled);

  // For all that is taken in from now on; at first for content.
  void SetRoom(RoomFor room) { room_ = room; }

 private:
  // Where a name leads.
  struct Found {
    ChunkLocation location;
    bool in_flight = false;  // we have become a user of it
  };
  struct Candidate {
    CutChunk chunk;
    ChunkId id;
    std::optional<size_t> twin;  // an earlier candidate of this Take() with its name
    std::optional<Found> found;
    bool equal = false;   // found, and its bytes are the same
    bool stored = false;  // under its own name, in the end
  };

  void Name(std::span<const CutChunk> chunks);
  Status FindAll();
  void CompareAll();
  Status Settle(Candidate& candidate, DigestLedger& ledger);
  Result<std::optional<Found>> Find(const ChunkId& id);
  // Gives up being a user of it.
  void Drop(const ChunkId& id, const Found& found);
  Status Share(const ChunkId& id, const Found& found, DigestLedger& ledger);
  // Stores bytes whose name was not found, or found with other bytes. True when
  // they are stored under `id`, in one piece.
  Result<bool> Store(const ChunkId& id, const CutChunk& chunk, DigestLedger& ledger);
  Result<bool> Contest(const ChunkId& id, ByteView bytes, const Found& rival, DigestLedger& ledger);
  // Stores a new copy of a chunk whose stored one cannot be read.
  Status Heal(const ChunkId& id, ByteView bytes, DigestLedger& ledger);
  bool SameBytes(const ChunkId& id, const ChunkLocation& location, ByteView bytes, bool* readable);

  Catalog& catalog_;
  PackStore& packs_;
  const Fingerprinter& fingerprinter_;
  InFlightChunks& in_flight_;
  RoomFor room_ = RoomFor::kContent;

  // Kept between calls, so that they are allocated once.
  Encoder encoder_;
  std::vector<Candidate> candidates_;
  std::unordered_map<ChunkId, size_t, ChunkIdHash> first_of_name_;
  std::vector<ChunkRead> reads_;
  std::vector<size_t> readers_;  // candidates that the reads belong to
  std::unique_ptr<uint8_t[]> stored_copy_;
  size_t stored_copy_bytes_ = 0;
};

}  // namespace varve
