// Which directories are sealed: nothing in or below them may be changed.
//
// Threads: needs Tree::mutex().
// Errors:  those of the catalog.
// Format:  docs/FORMAT.md, "Rows of the index".
#pragma once

#include <unordered_set>

#include "fs/core/tree.h"

namespace varve {

inline constexpr std::string_view kSealAttribute = "user.varve.seal";

class Seals {
 public:
  explicit Seals(Tree& tree) : tree_(tree) {}

  Status Load();

  bool Has(InodeNumber directory) const { return sealed_.contains(directory); }
  // What holds `inode` sealed: a directory that has one of its names, or lies above.
  Result<bool> IsSealed(InodeNumber inode);
  // The same of a name in a directory.
  Result<bool> IsSealedDirectory(InodeNumber directory);

  Status Set(InodeNumber directory);
  Status Remove(InodeNumber directory);
  // The directory is removed.
  void AppendGone(InodeNumber directory, Batch* batch);

 private:
  Tree& tree_;
  std::unordered_set<InodeNumber> sealed_;
};

}  // namespace varve
