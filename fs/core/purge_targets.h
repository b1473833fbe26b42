// The contents that a name ever had: those of its versions, and those that captured
// directories show under it; of a directory, of all that was ever below it.
//
// What was captured is found by moments: an inode counts for as long as it had the name. What
// a clone may show is told apart, because a clone is no history.
//
// Threads: belongs to one thread; takes no lock.
// Errors:  those of the catalog; kBusy when `pause` says false.
// Memory:  the contents; the directories that ever were, if the name is one.
#pragma once

#include <functional>
#include <set>
#include <string>
#include <string_view>
#include <tuple>
#include <unordered_map>
#include <unordered_set>
#include <vector>

#include "fs/core/past_roots.h"

namespace varve {

class PurgeTargets {
 public:
  PurgeTargets(Catalog& catalog, std::function<bool()> pause)
      : catalog_(catalog), clones_(catalog), pause_(std::move(pause)) {}

  // `name` of the directories with `history`.
  Status Find(HistoryId history, const std::string& name);

  const std::unordered_set<ContentId>& contents() const { return contents_; }
  // Of them.
  const std::unordered_set<ContentId>& shown_by_clones() const { return shown_by_clones_; }

 private:
  Status FindDirectories();
  Status AddName(HistoryId history, const std::string& name);
  Status AddHistory(HistoryId history);
  Status AddEntries(InodeNumber directory, Moments when, const std::string* name);
  Status AddInode(InodeNumber inode, Moments when);
  Status AddState(InodeNumber inode, Moments when, std::string_view row);

  Catalog& catalog_;
  PastRoots clones_;
  const std::function<bool()> pause_;
  std::unordered_map<HistoryId, std::set<InodeNumber>> directories_;
  std::unordered_set<HistoryId> histories_;  // that were added
  std::set<std::tuple<InodeNumber, Moment, Moment>> entered_;
  std::unordered_set<ContentId> contents_;
  std::unordered_set<ContentId> shown_by_clones_;
};

}  // namespace varve
