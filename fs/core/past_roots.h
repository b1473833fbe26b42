// From where the tree of earlier moments is looked at: versions of directories and clones;
// and whether any of them leads to a row as it was.
//
// A saved row tells what was between the saved row before it and its own `until`
// (saved_rows.h). It is seen if a root names a moment in between, of a directory that lay
// above at that moment.
//
// Threads: belongs to one thread; takes no lock.
// Errors:  those of the catalog.
// Memory:  the roots, and where directories that were asked for lay.
#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <unordered_map>
#include <unordered_set>
#include <vector>

#include "fs/core/row_states.h"
#include "fs/core/tree.h"

namespace varve {

class PastRoots {
 public:
  explicit PastRoots(Catalog& catalog) : catalog_(catalog) {}

  // `dropped`: rows of versions that count as gone.
  Status AddVersions(const std::unordered_set<std::string>& dropped);
  // The clones that there are, and what each is a clone of in turn.
  Status AddClones();
  // Those that an earlier moment shows.
  Status AddClonesOfThePast();

  // Whether a root may lead to `row`, which the row of `key` was then. When in doubt it does.
  Result<bool> LeadTo(std::string_view key, const std::optional<std::string>& row, Moments when);

 private:
  // Where a directory lay, from one moment to another.
  struct Place {
    Moments when;
    InodeNumber parent = 0;
  };
  void Add(InodeNumber directory, Moment moment);
  Status AddClones(const key::Range& range);
  bool AnyIn(Moments when);
  Result<bool> IsSeenFrom(InodeNumber directory, Moments when, int depth);
  Result<bool> IsSeenFromAny(const std::vector<Place>& places, Moments when, int depth);
  Result<bool> AreFilesSeen(InodeNumber inode, Moments when);
  Result<std::vector<Place>> PlacesOf(InodeNumber inode);

  Catalog& catalog_;
  bool sorted_ = true;
  std::unordered_map<InodeNumber, std::vector<Moment>> roots_;  // by directory
  std::vector<Moment> all_moments_;
  std::unordered_map<InodeNumber, std::vector<Place>> places_;
};

}  // namespace varve
