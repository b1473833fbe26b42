// Which directories changed since their last version, and since when.
//
// A directory changes when a name in it or anywhere below it does, or when a file in
// it or below it gets a version. A change marks the directory and all above it, each
// with a row when it is the first one, so that a crash forgets none.
//
// Threads: needs Tree::mutex().
// Errors:  those of the catalog.
// Format:  docs/FORMAT.md, "Rows of the index".
#pragma once

#include <unordered_map>
#include <vector>

#include "fs/core/keys.h"
#include "index/catalog.h"
#include "store/base/clock.h"

namespace varve {

class DirtyDirectories {
 public:
  // Both outlive it.
  DirtyDirectories(Catalog& catalog, Clock& clock) : catalog_(catalog), clock_(clock) {}

  // What the last mount left: as if it had changed now.
  Status Load();

  // `directory` changes now: adds the rows that say so.
  Status Append(InodeNumber directory, Batch* batch);
  // The parents of all names that `batch` changes.
  Status AppendParents(const Batch& batch, Batch* rows);
  // A version of it was captured, or it is gone.
  void AppendClean(InodeNumber directory, Batch* batch);

  struct Due {
    int64_t quiet_ns = 0;  // that long nothing changed,
    int64_t bound_ns = 0;  // or that long ago it changed first
  };
  std::vector<InodeNumber> FindDue(const Due& due) const;
  std::vector<InodeNumber> All() const;

 private:
  struct Since {
    int64_t first_ns = 0;
    int64_t last_ns = 0;
    uint64_t round = 0;
  };

  Catalog& catalog_;
  Clock& clock_;
  std::unordered_map<InodeNumber, Since> dirty_;
  uint64_t round_ = 0;  // changes when a directory becomes clean
};

}  // namespace varve
