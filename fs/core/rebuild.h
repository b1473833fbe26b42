// Makes the index anew from the packs alone.
//
// Every commit leaves a journal in the packs, so replaying all journals from the
// first to the last gives every row but the places of chunks, and those the packs
// tell themselves. What was applied after the last commit is in the log only, and
// goes with it: at most the last second before a crash.
//
// The new index and log are built beside the old ones, which are moved to
// index.old-N and log.old-N when they are complete, and never deleted. A crash in
// between leaves no index; then a mount says so, and a rebuild does it again.
//
// Threads: one; the caller has the store's lock and no catalog open.
// Errors:  kCorrupt when the packs hold no journal; those of the disk.
// Memory:  one journal record, and 16 bytes for each journal.
// Format:  docs/FORMAT.md, "Journal".
#pragma once

#include <functional>
#include <string>
#include <string_view>

#include "store/base/disk.h"
#include "store/pack/pack_store.h"

namespace varve {

struct RebuildReport {
  uint64_t journals = 0;
  uint64_t changes = 0;  // that they told
  uint64_t chunks = 0;
  uint64_t hot_copies = 0;  // given up: what came after the last journal may have changed them
  std::string moved_to;     // "index.old-1"; "" if there was no index
};

// `store_path` is the absolute path of `disk`.
Result<RebuildReport> RebuildIndex(
    Disk& disk, const std::string& store_path, PackStore& packs,
    const std::function<void(std::string_view what, uint64_t done, uint64_t total)>& progress);

}  // namespace varve
