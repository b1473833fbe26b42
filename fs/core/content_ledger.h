// What one digest leaves to its caller, written down as it goes.
//
// A very long content makes more rows than a batch may hold. Then the ledger syncs
// the packs and applies the rows itself, in between: they mean nothing before the
// content's record says "stored", and the next digest of that content removes them.
//
// Threads: belongs to one thread.
// Errors:  those of PackStore::Sync and Catalog::Apply.
#pragma once

#include <string>
#include <unordered_set>

#include "fs/core/content_inflight.h"
#include "fs/core/content_recipe.h"
#include "fs/core/content_store.h"
#include "fs/core/tensor_rows.h"

namespace varve {

class DigestLedger {
 public:
  DigestLedger(Catalog& catalog, PackStore& packs, InFlightChunks& in_flight, ContentId content)
      : catalog_(catalog), packs_(packs), in_flight_(in_flight), content_(content) {}
  // Gives up what was not taken.
  ~DigestLedger() { in_flight_.Release(digested_.new_chunks, catalog_); }
  DigestLedger(const DigestLedger&) = delete;
  DigestLedger& operator=(const DigestLedger&) = delete;

  // Removes what an earlier attempt wrote.
  Status RemoveOldRows();

  // What tensors the content has.
  Status PutTensorMap(const TensorMap& map, TensorHead head);

  // The next piece of the content.
  Status AddHole(uint64_t size);
  Status AddShared(const ChunkId& id, uint64_t size);
  // Shared with a chunk that is in flight, of which the caller has become a user.
  Status AddInFlight(const ChunkId& id, const ChunkLocation& location);
  // Just appended and added to the chunks in flight.
  Status AddNew(const ChunkId& id, const ChunkLocation& location);

  // Where the next piece begins.
  uint64_t end_bytes() const { return recipe_.end_bytes(); }

  Result<Digested> Finish();

 private:
  Status AddPiece(const Piece& piece);
  Status PutSegments(bool last);
  Status Put(std::string key, std::string value);
  Status FlushIfLarge();

  Catalog& catalog_;
  PackStore& packs_;
  InFlightChunks& in_flight_;
  const ContentId content_;

  RecipeWriter recipe_;
  Digested digested_;
  // What digested_.new_chunks lists, so that a content of many equal chunks names
  // each of them once.
  std::unordered_set<ChunkId, ChunkIdHash> named_;
  uint64_t batch_bytes_ = 0;
};

}  // namespace varve
