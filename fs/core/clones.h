// Directories that are clones: what their names are, and how a name that nobody looked at
// yet gets an inode.
//
// Making a clone writes one row: of what it is a clone, and the moment of that. All that is
// in it is found there (past_tree.h), until a name is looked up or listed: then it gets an
// inode of its own, which shows the content of the original's until it is written. A name
// that is removed leaves an entry that says so, since the original's would show again.
//
//   run1/ {a, b, sub/}      clone run2 = run1 at moment 7:   run2/ {}  +  (run1, 7)
//   ls run2; rm run2/b      run2/ {a -> inode 90, b gone, sub -> inode 92}  +  (run1, 7)
//                           and 92 is a clone of (sub, 7)
//
// A clone of a clone that was hardly changed takes over its few entries and is a clone of
// what that is one of; so a chain of clones is no deeper than its changes are.
//
// Threads: needs Tree::mutex().
// Errors:  those of the catalog; methods that take a Batch change nothing before it is
//          applied, but that looked-up names get their inodes at once.
// Format:  docs/FORMAT.md, "Rows of the index".
#pragma once

#include <optional>
#include <string_view>
#include <vector>

#include "fs/core/history_writer.h"
#include "fs/core/past_tree.h"
#include "fs/core/tree.h"

namespace varve {

class Clones {
 public:
  // Both outlive it.
  Clones(Tree& tree, HistoryWriter& history) : tree_(tree), history_(history) {}

  // Whether there are any.
  Status Load();

  // As those of Tree, of all names that a directory shows, whether it is a clone or not.
  Result<std::optional<NamedEntry>> Find(InodeNumber parent, std::string_view name);
  Result<uint64_t> SlotForNew(InodeNumber parent, std::string_view name);
  Status RemoveName(InodeNumber parent, uint64_t slot, Batch* batch);
  Result<bool> IsEmpty(InodeNumber directory);
  Result<std::vector<NamedEntry>> List(InodeNumber directory, uint64_t after_slot, size_t limit);

  // What a directory is a clone of, if it is one.
  Result<std::optional<CloneRecord>> Of(InodeNumber directory);
  // Makes `directory`, which has no entries, a clone. REQUIRES: the moment has ended.
  Status Append(InodeNumber directory, CloneRecord clone, Batch* batch);
  // A directory is removed: its row goes, and the entries that say what is gone. A large
  // number of those goes in batches of its own, at once.
  Status AppendRemoval(InodeNumber directory, Batch* batch);

 private:
  PastTree Present() { return PastTree(tree_, PastTree::kPresent); }
  // Gives an entry of an earlier moment an inode.
  Status AppendInode(InodeNumber parent, const CloneRecord& clone, NamedEntry* entry, Batch* batch);

  Tree& tree_;
  HistoryWriter& history_;
  bool any_ = false;
};

}  // namespace varve
