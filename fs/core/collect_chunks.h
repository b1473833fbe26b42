// Removes the chunks that no recipe names and nothing is made from, and tells how full the packs
// are then.
//
// REQUIRES: ContentStore::BeginCollection() was called, and the digests that ran then
// have ended. What others look for or add since, the content store keeps.
//
// Threads: belongs to one thread.
// Errors:  those of the catalog.
// Memory:  eight bytes a chunk, 52 for each that is only a base.
#pragma once

#include <functional>
#include <map>
#include <unordered_set>
#include <vector>

#include "fs/core/content_store.h"
#include "fs/core/id_set.h"
#include "fs/core/row_pages.h"

namespace varve {

// What of a pack is used; its own headers count.
struct PackContents {
  uint64_t chunks = 0;
  uint64_t bytes = 0;
};

class CollectChunks {
 public:
  struct Removed {
    uint64_t chunks = 0;
    uint64_t bytes = 0;  // in packs
  };
  CollectChunks(Catalog& catalog, ContentStore& contents, std::function<bool()> pause)
      : catalog_(catalog), contents_(contents), pause_(std::move(pause)) {}

  // `is_dead`: contents whose recipes count as gone.
  Status Mark(const std::function<bool(ContentId)>& is_dead);
  Result<Removed> Sweep(bool apply);
  // After Sweep(): what is left, by pack.
  const std::map<uint32_t, PackContents>& packs() const { return packs_; }
  // Chunks that are there only because others are made from them.
  struct Orphan {
    ChunkId id;
    ChunkLocation location;
  };
  const std::vector<Orphan>& orphans() const { return orphans_; }

 private:
  Status FindBases();
  Status SweepPage(const RowPage& page, bool apply);

  Catalog& catalog_;
  ContentStore& contents_;
  const std::function<bool()> pause_;
  IdSet live_;   // of each name eight bytes: two that share them are kept both
  IdSet bases_;  // of the chunks that are there, likewise
  bool bases_freed_ = false;
  std::unordered_set<uint64_t> gone_;  // what would be, when nothing is applied
  std::map<uint32_t, PackContents> packs_;
  std::vector<Orphan> orphans_;
  Removed removed_;
};

}  // namespace varve
