// Codes what a model's versions have in common: tells the tensors of a stored content from
// those of another of its signature, where that takes less room.
//
// Which from which tensor_series.h plans; here the tensors are found by their names, and
// their chunks by their places in them. A chunk that others are told from stays as it is,
// so no chain comes back to its start; and a chain may take as much reading as
// kReadMost says, no more.
//
// Threads: belongs to one thread, the collector's (chunk_recoder.h says why).
// Errors:  those of the catalog and of the packs; kBusy when `pause` says false.
// Memory:  24 bytes for each content with tensors, a kilobyte for each of one signature, the
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
    ContentId content = 0;
    ContentId base = 0;
  };
  class Pass;

  Dependencies d_;
  const std::function<bool()> pause_;
  // The newest of runs, which gained nothing: not tried again while they are.
  std::unordered_set<ContentId> tried_;
};

}  // namespace varve
