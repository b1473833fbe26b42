// The tree as it was at the capture of a moment, read from saved rows (saved_rows.h).
//
// Cost: a lookup does not depend on how much happened since; a listing depends on the
//       names that were and are there.
// Threads: all methods may be called concurrently, without a lock: what was at an
//          earlier moment does not change.
// Errors:  kNotFound for what was not there; kCorrupt for a damaged row.
#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "fs/core/tree.h"

namespace varve {

class PastTree {
 public:
  // `tree` outlives it.
  PastTree(Tree& tree, Moment moment) : tree_(tree), moment_(moment) {}

  Result<InodeRecord> Inode(InodeNumber inode) const;
  Result<std::optional<NamedEntry>> Find(InodeNumber parent, std::string_view name) const;
  // Entries with a slot above `after_slot`, ascending; about `limit` of them, none
  // only at the end.
  Result<std::vector<NamedEntry>> List(InodeNumber directory, uint64_t after_slot,
                                       size_t limit) const;
  Result<std::string> SymlinkTarget(InodeNumber inode) const;
  Result<std::optional<std::string>> Xattr(InodeNumber inode, std::string_view name) const;
  Result<std::vector<std::string>> XattrNames(InodeNumber inode) const;

 private:
  struct Row {
    std::string key;
    std::optional<std::string> row;  // nothing: it was not there
  };
  Result<std::optional<std::string>> RowOf(const std::string& key) const;
  // What [range) was like; `end` is where the answer ends, at or before the range's.
  Result<std::vector<Row>> RowsOf(const key::Range& range, size_t limit, std::string* end) const;
  Result<std::vector<Row>> SavedRowsOf(const key::Range& range, size_t limit,
                                       std::string* end) const;

  Tree& tree_;
  const Moment moment_;
};

}  // namespace varve
