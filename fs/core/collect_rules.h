// Which rule of retention holds where: the nearest directory's that has one, of a
// removed directory the one that held where it was.
//
// Threads: belongs to one thread; it reads the index as it is at the time.
// Errors:  those of the catalog.
// Memory:  a few dozen bytes a directory.
#pragma once

#include <unordered_map>

#include "fs/core/retention.h"
#include "fs/core/tree.h"

namespace varve {

class CollectRules {
 public:
  explicit CollectRules(Tree& tree) : tree_(tree) {}

  // Reads inodes and names.
  Status Load();

  // Of the versions of files in a directory with that history.
  Result<RetentionRule> OfHistory(HistoryId history);
  // Of the versions of a directory that hang on this list.
  Result<RetentionRule> OfList(HistoryId list);
  // Whether something in the directory with that history has this name now.
  Result<bool> HasName(HistoryId history, std::string_view name);

 private:
  struct Directory {
    InodeNumber parent = 0;
    HistoryId history = 0;
  };
  struct Name {
    HistoryId history = 0;  // of the directory that has, or had, this name
    std::string name;
  };
  Status LoadDirectories();
  Status LoadNames();
  Result<RetentionRule> OfDirectory(InodeNumber directory);

  Tree& tree_;
  std::unordered_map<InodeNumber, Directory> directories_;
  std::unordered_map<HistoryId, InodeNumber> live_;   // the directory that has it now
  std::unordered_map<HistoryId, HistoryId> waiting_;  // of removed ones -> of where they were
  std::unordered_map<HistoryId, Name> lists_;
  std::unordered_map<InodeNumber, RetentionRule> known_;  // rules found so far
};

}  // namespace varve
