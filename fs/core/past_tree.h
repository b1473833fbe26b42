// The tree as it was at the capture of a moment, read from saved rows (saved_rows.h);
// and what a clone shows, now and then.
//
// A clone's directory is in layers, slot by slot: the entries it has, and behind them
// those of what it is a clone of, as they were at the moment of that. So an entry names an
// inode and the moment that it is to be read at, which is another PastTree's where it is
// not this one's.
//
// Cost: a lookup does not depend on how much happened since, but on how many layers there
//       are (clones.h bounds them); a listing on the names that were and are there.
// Threads: all methods may be called concurrently, without a lock: what was at an
//          earlier moment does not change. The present needs Tree::mutex().
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
  static constexpr Moment kPresent = 0;

  // `tree` outlives it.
  PastTree(Tree& tree, Moment moment) : tree_(tree), moment_(moment) {}

  Result<InodeRecord> Inode(InodeNumber inode) const;
  // Entries with their moments; in the present 0, for inodes that are its own.
  Result<std::optional<NamedEntry>> Find(InodeNumber parent, std::string_view name) const;
  // What a slot has, in all layers. It may be gone(): another name may follow.
  Result<std::optional<NamedEntry>> FindSlot(InodeNumber parent, uint64_t slot) const;
  // Entries with a slot above `after_slot`, ascending; about `limit` of them, none
  // only at the end.
  Result<std::vector<NamedEntry>> List(InodeNumber directory, uint64_t after_slot,
                                       size_t limit) const;
  Result<std::string> SymlinkTarget(InodeNumber inode) const;
  Result<std::optional<std::string>> Xattr(InodeNumber inode, std::string_view name) const;
  Result<std::vector<std::string>> XattrNames(InodeNumber inode) const;
  // What a directory is a clone of, if it is one.
  Result<std::optional<CloneRecord>> Clone(InodeNumber directory) const;
  // The entries that a directory itself has, also what is gone() in it; at most about
  // `limit`.
  Result<std::vector<NamedEntry>> OwnEntries(InodeNumber directory, size_t limit) const;

 private:
  // One layer more than there are: a clone of what shows the next.
  using Layers = std::vector<PastInode>;
  Status AddLayer(Layers* layers) const;
  Result<std::optional<NamedEntry>> FindInLayers(uint64_t slot, Layers* layers, bool* end) const;
  // A part of a directory, up to `end_slot`.
  struct Part {
    std::vector<NamedEntry> entries;
    uint64_t end_slot = kAllSlots;
  };
  static constexpr uint64_t kAllSlots = ~uint64_t{0};
  Result<Part> OwnPart(InodeNumber directory, uint64_t after_slot, size_t limit) const;
  Result<Part> PartOf(InodeNumber directory, uint64_t after_slot, size_t limit) const;
  Result<NamedEntry> Entry(uint64_t slot, std::string_view row) const;

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
