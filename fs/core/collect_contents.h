// Removes the contents that no row names: marks from the roots, then sweeps.
//
// Roots are what inodes have, what versions and saved rows name, and what contents
// that are not stored yet are based on. While rows are read, others are written; the
// tree notes which contents those name (content_references.h), and the sweep asks
// again under Tree::mutex() before it removes anything.
//
// Threads: belongs to one thread; takes Tree::mutex() for a moment at a time.
// Errors:  those of the catalog.
// Memory:  eight bytes a content.
#pragma once

#include <functional>
#include <string>
#include <unordered_set>

#include "fs/core/hot_cache.h"
#include "fs/core/id_set.h"
#include "fs/core/live_files.h"
#include "fs/core/row_pages.h"

namespace varve {

class CollectContents {
 public:
  struct Dependencies {
    Tree& tree;
    LiveFiles& files;
    ContentStore& contents;
    HotCache& hot;
  };
  struct Removed {
    uint64_t contents = 0;
    uint64_t bytes = 0;  // of the files that they were, before sharing and encoding
  };
  // From construction on the tree notes references. `dropped`: rows that count as gone.
  CollectContents(const Dependencies& dependencies, std::function<bool()> pause);
  ~CollectContents();

  Status Mark(const std::unordered_set<std::string>& dropped_versions,
              const std::unordered_set<std::string>& dropped_saved);
  // Without `apply` they are only counted; then IsDead() tells which.
  Result<Removed> Sweep(bool apply);
  bool IsDead(ContentId content) const { return dead_.Has(content); }

 private:
  Status MarkTable(char table, const std::unordered_set<std::string>* dropped);
  Status MarkBases();
  Status SweepPage(const RowPage& page, bool apply);
  Result<bool> RemoveLocked(ContentId content, Batch* batch, std::vector<StageId>* stages);
  Status RemoveLong(ContentId content);

  Dependencies d_;
  const std::function<bool()> pause_;
  ContentId first_new_ = 0;  // what is made from now on is not judged
  IdSet live_;
  IdSet dead_;
  std::vector<ContentId> long_;  // of which a part of the recipe is left
  Removed removed_;
};

}  // namespace varve
