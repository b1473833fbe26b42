// The second copy of the index, in packs: what each commit changed, in order.
//
// Replayed from the first to the last, journals rebuild every row but the
// locations of chunks, which the packs themselves tell. So the index can be lost.
//
// A journal is durable before the index says that its commit happened: a hole in
// the journals would be a hole in what a rebuild restores.
//
// A base journal holds all rows instead of their changes; then the journals up to its
// sequence are not needed any more, nor the packs that held only those.
//
// Threads: free functions.
// Format:  docs/FORMAT.md, "Journal".
#pragma once

#include <functional>
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
Status WriteJournal(PackStore& packs, uint64_t sequence, const std::vector<Batch::Change>& changes,
                    RoomFor room = RoomFor::kUpkeep);

// Writes a base journal of all rows of `catalog` and returns its sequence, S, when it is
// durable: the packs whose journals are all of S or earlier may then be removed.
//
// The catalog may change meanwhile. S is the last commit before the first row is read, so
// every change that a row may show or lack is in a journal behind S, or will be. `commit`
// is called when all rows are read, and *commits the catalog with WriteJournal()*: it
// makes that true before the mark is written with which the base journal counts. A crash
// before leaves a series without its end, which a rebuild ignores.
//
// Takes 8 MiB of memory, and keeps no page of the index from being reused meanwhile.
// REQUIRES: one at a time. Fails as PackStore, Catalog::Scan and `commit` do; then what
// was written counts for nothing.
Result<uint64_t> WriteBaseJournal(PackStore& packs, Catalog& catalog,
                                  const std::function<Status()>& commit);

// What its records would hold, before they are encoded.
Result<uint64_t> BaseJournalBytes(Catalog& catalog);

}  // namespace varve
