// Codes what a model's versions have in common: makes the tensors of a stored content from
// those of another, where that takes less room.
//
// An export in another float type is a cast of what it was made from, which is found by
// equal sketches. Of contents of one signature tensor_series.h plans which is told from
// which. Here the tensors are found by their names, and their chunks by their places in them. A
// chunk that others are told from stays as it is, so no chain comes back to its start; and a chain
// may take as much reading as kReadMost says, no more.
//
// Threads: belongs to one thread, the collector's (chunk_recoder.h says why).
// Errors:  those of the catalog and of the packs; kBusy when `pause` says false.
// Memory:  60 bytes for each content with tensors, a kilobyte for each of one signature, the
//          maps of a few contents, and eight bytes for each base.
#pragma once

#include <functional>
#include <unordered_set>
#include <vector>

#include "fs/core/chunk_recoder.h"
#include "fs/core/id_set.h"
#include "fs/core/tensor_rows.h"
#include "fs/core/tensor_series.h"

namespace varve {

class SeriesRecoder {
 public:
  struct Dependencies {
    Catalog& catalog;
    PackStore& packs;
  };
  SeriesRecoder(const Dependencies& dependencies, std::function<bool()> pause)
      : d_(dependencies), pause_(std::move(pause)) {}

  // Writes about `room_bytes` at most. `eager`: PlanSeries().
  Result<ChunkRecoder::Counts> Run(bool eager, uint64_t room_bytes);

 private:
  struct Head {
    uint64_t signature = 0;
    uint64_t architecture = 0;
    uint64_t rounded = 0;  // RoundedHash()
    ContentId content = 0;
    ContentId base = 0;
  };
  class Pass;

  Dependencies d_;
  const std::function<bool()> pause_;
  // What gained nothing: the newest of runs, and what only looks like an export.
  std::unordered_set<ContentId> tried_;
};

}  // namespace varve
