#include "fs/core/past_roots.h"

#include <algorithm>

#include "fs/core/row_pages.h"

namespace varve {
namespace {

constexpr size_t kPlacesMax = 1 << 20;
// No path is deeper; ends a circle in a damaged index.
constexpr int kDepthMax = 1 << 14;

bool AnyOf(const std::vector<Moment>& ascending, Moments when) {
  const auto first = std::lower_bound(ascending.begin(), ascending.end(), when.begin);
  return first != ascending.end() && *first < when.end;
}

}  // namespace

void PastRoots::Add(InodeNumber directory, Moment moment) {
  roots_[directory].push_back(moment);
  all_moments_.push_back(moment);
  sorted_ = false;
}

Status PastRoots::AddVersions(const std::unordered_set<std::string>& dropped) {
  return ForEachPage(catalog_, key::Table(key::kDirectoryVersion),
                     [&](const RowPage& page) -> Status {
                       for (const auto& [row_key, row] : page) {
                         if (dropped.contains(row_key)) continue;
                         ASSIGN_OR_RETURN(const DirectoryVersionRecord record,
                                          DirectoryVersionRecord::Decode(row));
                         Add(record.inode, record.moment);
                       }
                       return Status();
                     });
}

Status PastRoots::AddClones() { return AddClones(key::Table(key::kClone)); }

Status PastRoots::AddClonesOfThePast() {
  const key::Range table = key::Table(key::kClone);
  return AddClones({key::kSaved + table.begin, key::kSaved + table.end});
}

Status PastRoots::AddClones(const key::Range& range) {
  return ForEachPage(catalog_, range, [&](const RowPage& page) -> Status {
    for (const auto& [row_key, row] : page) {
      SavedRow saved{row};
      if (row_key[0] == key::kSaved) {
        ASSIGN_OR_RETURN(saved, SavedRow::Decode(row));
      }
      if (!saved.row) continue;
      ASSIGN_OR_RETURN(const CloneRecord clone, CloneRecord::Decode(*saved.row));
      Add(clone.original.inode, clone.original.moment);
      for (const PastInode& layer : clone.layers) Add(layer.inode, layer.moment);
    }
    return Status();
  });
}

bool PastRoots::AnyIn(Moments when) {
  if (!std::exchange(sorted_, true)) {
    for (auto& [directory, moments] : roots_) std::sort(moments.begin(), moments.end());
    std::sort(all_moments_.begin(), all_moments_.end());
  }
  return AnyOf(all_moments_, when);
}

Result<bool> PastRoots::LeadTo(std::string_view key, const std::optional<std::string>& row,
                               Moments when) {
  if (!AnyIn(when)) return false;
  const InodeNumber inode = key::Id(key);
  if (key[0] == key::kDirent || key[0] == key::kClone) return IsSeenFrom(inode, when, 0);
  if (key[0] != key::kInode) return AreFilesSeen(inode, when);
  // What was not there yet: with its name, that tells so as well.
  if (!row) return true;
  ASSIGN_OR_RETURN(const InodeRecord record, InodeRecord::Decode(*row));
  if (S_ISDIR(record.mode)) return IsSeenFrom(inode, when, 0);
  // Another name may lie elsewhere.
  if (record.links > 1) return true;
  return IsSeenFrom(record.parent, when, 0);
}

// An attribute or a link's target, of a file or a directory.
Result<bool> PastRoots::AreFilesSeen(InodeNumber inode, Moments when) {
  if (roots_.contains(inode)) return IsSeenFrom(inode, when, 0);
  ASSIGN_OR_RETURN(const std::vector<Place> places, PlacesOf(inode));
  return IsSeenFromAny(places, when, 0);
}

Result<bool> PastRoots::IsSeenFrom(InodeNumber directory, Moments when, int depth) {
  if (!AnyIn(when)) return false;
  if (const auto own = roots_.find(directory); own != roots_.end() && AnyOf(own->second, when))
    return true;
  if (directory == kRootNode) return false;
  if (depth >= kDepthMax) return true;
  ASSIGN_OR_RETURN(const std::vector<Place> places, PlacesOf(directory));
  return IsSeenFromAny(places, when, depth + 1);
}

Result<bool> PastRoots::IsSeenFromAny(const std::vector<Place>& places, Moments when, int depth) {
  for (const Place& place : places) {
    const Moments both = Common(when, place.when);
    if (both.empty()) continue;
    if (place.parent == 0) return true;
    ASSIGN_OR_RETURN(const bool seen, IsSeenFrom(place.parent, both, depth));
    if (seen) return true;
  }
  return false;
}

// Parent 0: with several names it may have lain anywhere.
Result<std::vector<PastRoots::Place>> PastRoots::PlacesOf(InodeNumber inode) {
  if (const auto known = places_.find(inode); known != places_.end()) return known->second;
  if (places_.size() >= kPlacesMax) places_.clear();
  std::vector<Place> places;
  const auto add = [&](Moments when, std::string_view row) -> Status {
    ASSIGN_OR_RETURN(const InodeRecord record, InodeRecord::Decode(row));
    const bool several = !S_ISDIR(record.mode) && record.links > 1;
    const InodeNumber parent = several ? 0 : record.parent;
    if (!places.empty() && places.back().parent == parent && places.back().when.end == when.begin) {
      places.back().when.end = when.end;
    } else {
      places.push_back({when, parent});
    }
    return Status();
  };
  RETURN_IF_ERROR(ForEachState(catalog_, key::Inode(inode), add));
  return places_.emplace(inode, std::move(places)).first->second;
}

}  // namespace varve
