// Frees bases that no recipe names any more: what is made from them is coded by itself, if
// that takes less room together, or if the bytes of the base have to go.
//
// REQUIRES: as ChunkRecoder.
//
// Threads: belongs to one thread.
// Errors:  those of the catalog and of the packs; kBusy when `pause` says false.
// Memory:  100 bytes for each such base.
#pragma once

#include <functional>
#include <set>
#include <unordered_map>
#include <vector>

#include "fs/core/chunk_recoder.h"
#include "fs/core/collect_chunks.h"

namespace varve {

class CollectBases {
 public:
  CollectBases(Catalog& catalog, PackStore& packs, std::function<bool()> pause)
      : catalog_(catalog), recoder_(catalog, packs), pause_(std::move(pause)) {}

  // `emptied`: packs whose bases have to go. How many chunks need no base any more; the bases
  // themselves go with the next sweep.
  Result<uint64_t> Run(const std::vector<CollectChunks::Orphan>& orphans,
                       const std::set<uint32_t>& emptied);

 private:
  struct Use {
    uint64_t base_bytes = 0;  // stored, as the next one
    uint64_t told_bytes = 0;
    uint64_t alone_bytes = 0;  // what they are likely to take by themselves
    bool goes = false;
  };
  using Visit = std::function<Status(const ChunkId&, const ChunkLocation&, Use*)>;
  Status ForEachTold(const Visit& visit);
  Status RecodeSome(std::vector<ChunkTask> tasks);

  Catalog& catalog_;
  ChunkRecoder recoder_;
  const std::function<bool()> pause_;
  std::unordered_map<ChunkId, Use, ChunkIdHash> uses_;
};

}  // namespace varve
