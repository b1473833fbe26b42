// Drops the saved rows that no version of a directory can lead to any more.
//
// A saved row tells what was between the saved row before it and its own `until`
// (saved_rows.h). It is needed if a version that is left, or a clone, names a moment in
// between, of a directory that lay above at that moment. Without it all other moments read the
// same.
//
// Threads: belongs to one thread; takes Tree::mutex() for a moment at a time.
// Errors:  those of the catalog.
// Memory:  the versions of directories, and where directories that were asked for lay.
#pragma once

#include <functional>
#include <string>
#include <unordered_map>
#include <unordered_set>
#include <vector>

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
  // Half-open.
  struct Moments {
    Moment begin = 0;
    Moment end = 0;
  };
  // Where a directory lay, from one moment to another.
  struct Place {
    Moments when;
    InodeNumber parent = 0;
  };
  Status LoadVersions();
  Status LoadClones();
  Result<bool> IsNeeded(std::string_view key, const std::optional<std::string>& row, Moments when);
  // Whether a version names one of the moments, of the directory or of one above it.
  Result<bool> IsSeenFrom(InodeNumber directory, Moments when, int depth);
  Result<bool> AreFilesSeen(InodeNumber inode, Moments when);
  Result<const std::vector<Place>*> PlacesOf(InodeNumber inode);
  Status Drop(const std::string& row_key, bool apply);
  Status Flush();

  Tree& tree_;
  const std::unordered_set<std::string>& dropped_;
  const std::function<bool()> pause_;
  std::unordered_map<InodeNumber, std::vector<Moment>> versions_;  // ascending, by directory
  std::vector<Moment> all_moments_;
  std::unordered_map<InodeNumber, std::vector<Place>> places_;
  std::unordered_set<std::string> rows_;
  Batch batch_;
};

}  // namespace varve
