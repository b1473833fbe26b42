// The second copy of the index, in packs: what each commit changed, in order.
//
// Replayed from the first to the last, journals rebuild every row but the
// locations of chunks, which the packs themselves tell. So the index can be lost.
//
// Threads: free functions.
// Format:  docs/FORMAT.md, "Journal".
#pragma once

#include <string>
#include <vector>

#include "index/catalog.h"

namespace varve {

std::string EncodeJournal(const std::vector<Batch::Change>& changes);
// Fails with kCorrupt on bytes that EncodeJournal did not make.
Result<std::vector<Batch::Change>> DecodeJournal(std::string_view bytes);

}  // namespace varve
