// Brings chunks from the packs into the cache.
//
// Threads: all methods may be called concurrently.
// Errors:  each chunk is published with its own status: kCorrupt when its bytes or
//          its row in the index are wrong, kIo when they could not be read.
#pragma once

#include <atomic>
#include <span>

#include "fs/core/content_cache.h"
#include "index/catalog.h"
#include "store/pack/pack_store.h"

namespace varve {

class ChunkLoader {
 public:
  ChunkLoader(Catalog& catalog, PackStore& packs, ChunkCache& cache)
      : catalog_(catalog), packs_(packs), cache_(cache) {}

  // Loads and publishes chunks that the caller has claimed, in one batch.
  void Load(std::span<const ChunkPin> claimed);

 private:
  Catalog& catalog_;
  PackStore& packs_;
  ChunkCache& cache_;
};

}  // namespace varve
