// Reads located chunks beside a collector that moves them to other packs.
//
// Between a look into the index and the read, the chunk may have been moved and its
// pack removed: then the index is asked again, and the read repeated. A missing pack
// that the index still names is damage. Bases are read first, and theirs before.
//
// Threads: free functions.
#pragma once

#include <span>

#include "index/catalog.h"
#include "store/pack/pack_store.h"

namespace varve {

// A chunk is made from a base, that perhaps from another, and so on: so many at most. Who
// codes chunks so keeps below it.
inline constexpr size_t kBaseLinksMax = 8;

// As PackStore::Read(), but kNotFound never comes out: kCorrupt does, for a pack that is
// gone although the index names it, or a chunk that the index does not know any more.
// So it does for a chunk whose base cannot be read. The locations are where the chunks were
// read in the end.
Status ReadChunks(Catalog& catalog, PackStore& packs, std::span<ChunkRead> reads,
                  ReadFrom from = ReadFrom::kDisk);

}  // namespace varve
