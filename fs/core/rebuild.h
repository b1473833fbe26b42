// Makes the index anew from the packs alone.
//
// Every commit leaves a journal in the packs, so replaying the newest base journal and
// all journals behind it gives every row but the places of chunks, and those the packs
// tell themselves. What was applied after the last commit is in the log only, and
// goes with it: at most the last second before a crash.
//
// The new index and log are built beside the old ones, which are moved to
// index.old-N and log.old-N when they are complete, and never deleted. A crash in
// between leaves no index; then a mount says so, and a rebuild does it again.
//
// Threads: one; the caller has the store's lock and no catalog open.
// Errors:  kCorrupt when the packs hold no journal; those of the disk.
// Memory:  one journal record, and 24 bytes for each.
// Format:  docs/FORMAT.md, "Journal".
#pragma once

#include <string>

#include "fs/core/replay.h"
#include "store/base/disk.h"
#include "store/pack/pack_store.h"

namespace varve {

struct RebuildReport {
  uint64_t journals = 0;
  uint64_t changes = 0;  // that they told
  uint64_t chunks = 0;
  uint64_t hot_copies = 0;     // given up: what came after the last journal may have changed them
  uint64_t base_sequence = 0;  // of the base journal that it began with; 0: there was none
  uint64_t unfinished_bases = 0;  // not whole, and not used
  std::string moved_to;           // "index.old-1"; "" if there was no index
};

// `store_path` is the absolute path of `disk`.
Result<RebuildReport> RebuildIndex(Disk& disk, const std::string& store_path, PackStore& packs,
                                   const ReplayProgressFn& progress);

}  // namespace varve
