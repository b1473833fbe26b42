// Chooses which history goes for room: of the versions that the rules keep, the oldest,
// and no more of them than it takes.
//
// Never what a live file, a pin or a clone shows, or what is not stored yet. Nor the newest
// stored version of a name that is there, or that has newer ones which are not stored: that
// is what a power cut leaves of it.
//
// How much room the n oldest give is told by a collection that only counts, so what others
// share does not count; the smallest n that gives enough is found by halving.
//
// Threads: belongs to one thread; takes Tree::mutex() for a moment at a time.
// Errors:  those of the catalog.
// Memory:  the rows of all versions, and what a collection takes.
#pragma once

#include <ctime>
#include <functional>
#include <string>
#include <vector>

#include "fs/core/collect_contents.h"
#include "fs/core/collect_versions.h"

namespace varve {

class CollectOldest {
 public:
  // `pause` is called now and then; false from it ends the run early. REQUIRES: no other
  // CollectContents exists.
  CollectOldest(const CollectContents::Dependencies& dependencies, std::function<bool()> pause)
      : d_(dependencies), pause_(std::move(pause)) {}

  // Drops versions that give `wanted_bytes` of packs together, or all that give any. None is
  // dropped where that would give nothing.
  Result<CollectVersions::Dropped> Drop(uint64_t wanted_bytes);

 private:
  struct Version {
    std::string row_key;
    std::string row;
    struct timespec captured {};
    ContentId content = 0;  // of a file
  };
  Status Gather();
  Status GatherFiles();
  Status GatherDirectories();
  // Of one name, ascending.
  Status AddName(CollectRules& rules, std::vector<Version> versions);
  // What the first `count` versions give. `look`: what is dead then.
  Result<uint64_t> BytesOf(size_t count,
                           const std::function<void(const CollectContents&)>& look = {});

  CollectContents::Dependencies d_;
  const std::function<bool()> pause_;
  std::vector<Version> versions_;  // that may go; the oldest first
};

}  // namespace varve
