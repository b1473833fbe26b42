// What the virtual nodes ask of the live tree: who is there now.
//
// Threads: may be called concurrently; never with a lock of the virtual nodes held.
// Errors:  kNotFound or ESTALE when there is no such inode or name.
#pragma once

#include <string_view>
#include <vector>

#include "fs/core/keys.h"
#include "fs/core/records.h"
#include "fs/core/tree.h"
#include "store/base/result.h"

namespace varve {

class LiveLookup {
 public:
  virtual ~LiveLookup() = default;

  // The inode as it is now, changes that are not in the index yet included.
  virtual Result<InodeRecord> Inode(InodeNumber inode) = 0;
  // The inode that has this name in `directory` now.
  virtual Result<InodeNumber> Child(InodeNumber directory, std::string_view name) = 0;
  // Names with a slot above `after_slot`, ascending, at most `limit`; none at the end.
  virtual Result<std::vector<NamedEntry>> Names(InodeNumber directory, uint64_t after_slot,
                                                size_t limit) = 0;
  // What is in a clone exists for all that ask for rows, as if it had been looked up.
  virtual Status LookUpAll(InodeNumber directory) = 0;
};

}  // namespace varve
