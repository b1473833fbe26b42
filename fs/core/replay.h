// Fills an empty catalog with what the packs tell: places of chunks, and journals.
//
// Threads: one; nobody appends to the packs meanwhile.
// Errors:  kCorrupt when the packs hold no journal that counts; those of packs and catalog.
// Memory:  one journal record, and 24 bytes for each.
// Format:  docs/FORMAT.md, "Journal".
#pragma once

#include <functional>
#include <string_view>
#include <vector>

#include "fs/core/journal_set.h"
#include "index/catalog.h"
#include "store/pack/pack_store.h"

namespace varve {

using ReplayProgressFn = std::function<void(std::string_view what, uint64_t done, uint64_t total)>;

class Replay {
 public:
  // `progress` may be empty. Both outlive it.
  Replay(PackStore& packs, const ReplayProgressFn& progress) : packs_(packs), progress_(progress) {}

  // Reads all journals, so that one with a damaged part does not count.
  Status FindJournals();
  // REQUIRES: FindJournals() succeeded; `catalog` is empty, and was opened with
  // sequence_floor = journals().newest_sequence().
  Status Fill(Catalog& catalog);

  const JournalSet& journals() const { return journals_; }
  struct Counts {
    uint64_t journals = 0;
    uint64_t changes = 0;  // that they told
    uint64_t chunks = 0;
  };
  const Counts& counts() const { return counts_; }

 private:
  Status AddChunks(uint32_t pack);
  Status AddBased(uint32_t pack);
  // The places [*at, …) that one pass over their pack can read in order.
  Status ReadFrom(size_t* at);
  Status ReadRecord(ByteView record);
  Status Add(std::string key, std::optional<std::string> value);
  Status Flush();
  void Progress(std::string_view what, uint64_t done, uint64_t total) const {
    if (progress_) progress_(what, done, total);
  }

  PackStore& packs_;
  const ReplayProgressFn& progress_;

  JournalSet journals_;
  std::vector<JournalPlace> places_;
  std::vector<uint32_t> based_;  // packs that hold chunks with bases
  Counts counts_;
  Catalog* catalog_ = nullptr;
  Batch batch_;
  uint64_t batch_bytes_ = 0;
  uint64_t uncommitted_bytes_ = 0;
};

}  // namespace varve
