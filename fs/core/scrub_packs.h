// Reads packs from end to end, and remembers what is intact in them.
//
// Only packs that are closed: what a pack that is being written holds, ScrubChunks reads.
// One that a collection removes meanwhile is no damage; one that is listed and has no
// file is.
//
// Threads: belongs to one thread; packs are read where `reader` says.
// Errors:  those of `before_read` and of the catalog, and a lack of memory or descriptors.
//          All else that cannot be read is damage.
// Memory:  eight to sixteen bytes a chunk; for one pack at a time what PackScanner takes.
#pragma once

#include <functional>
#include <string>
#include <utility>
#include <vector>

#include "fs/core/id_set.h"
#include "fs/core/scrub_report.h"
#include "index/catalog.h"
#include "store/pack/pack_store.h"

namespace varve {

// Whether `status` says something about the machine, and nothing about the bytes.
bool IsShortage(const Status& status);

class ScrubPacks {
 public:
  struct Dependencies {
    Catalog& catalog;
    PackStore& packs;
    // Runs its argument and returns after it.
    std::function<void(const std::function<void()>&)> reader;
    // Called on the reader; may wait. What fails there ends the scrub.
    std::function<Status(uint64_t bytes)> before_read;
  };
  ScrubPacks(const Dependencies& dependencies, ScrubReport* report)
      : d_(dependencies), report_(*report) {}

  Status Scan(const PackInfo& info);
  // After the last Scan(): judges the packs that were not found.
  Status Settle();

  // REQUIRES: Settle() was called.
  bool IsIntact(const ChunkId& id, const ChunkLocation& location) const;
  // Its file is gone, and that is no collection's doing.
  bool IsLost(uint32_t pack) const;

 private:
  using Damage = std::vector<std::pair<uint64_t, std::string>>;  // offset, why

  Status ScanFile(uint32_t pack, Damage* damage);
  Status Report(uint32_t pack, const Damage& damage);
  bool IsListed(uint32_t pack) const;

  Dependencies d_;
  ScrubReport& report_;
  IdSet intact_;                   // a hash of name and place each
  std::vector<uint32_t> missing_;  // ascending
};

}  // namespace varve
