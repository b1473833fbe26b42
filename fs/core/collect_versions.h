// Drops the versions that no rule of retention keeps.
//
// The newest version of a file stays while the file still is as it says; pinned
// versions of directories stay always. Numbers are never given again.
//
// Threads: belongs to one thread; takes Tree::mutex() for a moment at a time.
// Errors:  those of the catalog.
#pragma once

#include <functional>
#include <string>
#include <unordered_set>
#include <vector>

#include "fs/core/collect_rules.h"
#include "fs/core/row_pages.h"

namespace varve {

// Deletes those of `rows` that still are as they were. A renamed directory's versions may be
// called otherwise by now, and a temporary name that is made again begins to count anew.
// Takes Tree::mutex().
Status DropUnchanged(Tree& tree, const RowPage& rows);

class CollectVersions {
 public:
  struct Dropped {
    uint64_t files = 0;        // versions of files
    uint64_t directories = 0;  // versions of directories
  };
  // `pause` is called between batches; false from it ends the run early.
  CollectVersions(Tree& tree, int64_t now_s, std::function<bool()> pause)
      : tree_(tree), now_s_(now_s), pause_(std::move(pause)) {}

  // Without `apply` only the rows that would go are remembered, in rows().
  Result<Dropped> Run(bool apply);
  const std::unordered_set<std::string>& rows() const { return rows_; }

 private:
  struct Version {
    std::string row_key;
    std::string row;
    RetentionRule::Candidate candidate;
    InodeNumber inode = 0;
    ContentId content = 0;
  };
  Status RunFiles(CollectRules& rules);
  Status RunDirectories(CollectRules& rules);
  Status JudgeName(const RetentionRule& rule, const std::vector<Version>& versions);
  Status JudgeList(CollectRules& rules, HistoryId list, const std::vector<Version>& versions);
  Result<bool> IsLive(const Version& version);
  Status Drop(const Version& version);
  Status Flush();

  Tree& tree_;
  const int64_t now_s_;
  const std::function<bool()> pause_;
  bool apply_ = false;
  RowPage batch_;  // to be dropped if they still are as they were
  std::unordered_set<std::string> rows_;
  Dropped dropped_;
};

}  // namespace varve
