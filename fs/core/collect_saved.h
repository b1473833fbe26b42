// Drops the saved rows that no version of a directory can lead to any more.
//
// Without them all other moments read the same.
//
// Threads: belongs to one thread; takes Tree::mutex() for a moment at a time.
// Errors:  those of the catalog.
// Memory:  as PastRoots.
#pragma once

#include <functional>
#include <string>
#include <unordered_set>

#include "fs/core/tree.h"

namespace varve {

class CollectSaved {
 public:
  // `dropped`: rows of versions that count as gone already.
  CollectSaved(Tree& tree, const std::unordered_set<std::string>& dropped,
               std::function<bool()> pause)
      : tree_(tree), dropped_(dropped), pause_(std::move(pause)) {}

  // Returns how many went, or without `apply` would go; then they are in rows().
  Result<uint64_t> Run(bool apply);
  const std::unordered_set<std::string>& rows() const { return rows_; }

 private:
  Status Drop(const std::string& row_key, bool apply);
  Status Flush();

  Tree& tree_;
  const std::unordered_set<std::string>& dropped_;
  const std::function<bool()> pause_;
  std::unordered_set<std::string> rows_;
  Batch batch_;
};

}  // namespace varve
