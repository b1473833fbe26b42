// The second copy of the index, in packs: what each commit changed, in order.
//
// Replayed from the first to the last, journals rebuild every row but the
// locations of chunks, which the packs themselves tell. So the index can be lost.
//
// A journal is durable before the index says that its commit happened: a hole in
// the journals would be a hole in what a rebuild restores.
//
// Threads: free functions.
// Format:  docs/FORMAT.md, "Journal".
#pragma once

#include <string>
#include <vector>

#include "index/catalog.h"
#include "store/pack/pack_store.h"

namespace varve {

std::string EncodeJournal(const std::vector<Batch::Change>& changes);
// Fails with kCorrupt on bytes that EncodeJournal did not make.
Result<std::vector<Batch::Change>> DecodeJournal(std::string_view bytes);

// What a Catalog's Commit() calls: appends the changes to the packs, in several
// records of one sequence number if there are many, and flushes them.
Status WriteJournal(PackStore& packs, uint64_t sequence, const std::vector<Batch::Change>& changes);

}  // namespace varve
