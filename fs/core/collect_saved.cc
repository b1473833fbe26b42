#include "fs/core/collect_saved.h"

#include <algorithm>

#include "fs/core/row_pages.h"

namespace varve {
namespace {

constexpr size_t kBatchRows = 256;
constexpr size_t kPlacesMax = 1 << 20;
// No path is deeper; ends a circle in a damaged index.
constexpr int kDepthMax = 1 << 14;

bool AnyOf(const std::vector<Moment>& ascending, Moment begin, Moment end) {
  const auto first = std::lower_bound(ascending.begin(), ascending.end(), begin);
  return first != ascending.end() && *first < end;
}

}  // namespace

Result<uint64_t> CollectSaved::Run(bool apply) {
  RETURN_IF_ERROR(LoadVersions());
  Moment now = 0;
  {
    // What is saved from now on is for versions that nobody has judged.
    MutexLock lock(tree_.mutex());
    now = tree_.now();
  }
  uint64_t dropped = 0;
  std::string key;
  Moment since = 0;  // when what the next saved row of `key` tells began
  const key::Range table = key::Table(key::kSaved);
  const Status walked = ForEachPage(tree_.catalog(), table, [&](const RowPage& page) -> Status {
    for (const auto& [row_key, row] : page) {
      const std::string_view of = key::SavedKey(row_key);
      if (of != key) {
        key = of;
        since = 0;
      }
      const Moment until = key::SavedUntil(row_key);
      const Moments when{std::exchange(since, until), until};
      if (until >= now) continue;
      ASSIGN_OR_RETURN(const SavedRow saved, SavedRow::Decode(row));
      ASSIGN_OR_RETURN(const bool needed, IsNeeded(key, saved.row, when));
      if (needed) continue;
      ++dropped;
      RETURN_IF_ERROR(Drop(row_key, apply));
    }
    return pause_() ? Status() : Status(Code::kBusy, "the collection was stopped");
  });
  RETURN_IF_ERROR(walked);
  RETURN_IF_ERROR(Flush());
  return dropped;
}

Status CollectSaved::LoadVersions() {
  RETURN_IF_ERROR(ForEachPage(tree_.catalog(), key::Table(key::kDirectoryVersion),
                              [&](const RowPage& page) -> Status {
                                for (const auto& [row_key, row] : page) {
                                  if (dropped_.contains(row_key)) continue;
                                  ASSIGN_OR_RETURN(const DirectoryVersionRecord record,
                                                   DirectoryVersionRecord::Decode(row));
                                  versions_[record.inode].push_back(record.moment);
                                  all_moments_.push_back(record.moment);
                                }
                                return Status();
                              }));
  RETURN_IF_ERROR(LoadClones());
  for (auto& [directory, moments] : versions_) std::sort(moments.begin(), moments.end());
  std::sort(all_moments_.begin(), all_moments_.end());
  return Status();
}

Status CollectSaved::LoadClones() {
  const auto add = [&](const PastInode& inode) {
    versions_[inode.inode].push_back(inode.moment);
    all_moments_.push_back(inode.moment);
  };
  const auto add_page = [&](const RowPage& page) -> Status {
    for (const auto& [row_key, row] : page) {
      SavedRow saved{row};
      if (row_key[0] == key::kSaved) {
        ASSIGN_OR_RETURN(saved, SavedRow::Decode(row));
      }
      if (!saved.row) continue;
      ASSIGN_OR_RETURN(const CloneRecord clone, CloneRecord::Decode(*saved.row));
      add(clone.original);
      for (const PastInode& layer : clone.layers) add(layer);
    }
    return Status();
  };
  // Those that are, and those that an earlier moment shows.
  const key::Range table = key::Table(key::kClone);
  RETURN_IF_ERROR(ForEachPage(tree_.catalog(), table, add_page));
  return ForEachPage(tree_.catalog(), {key::kSaved + table.begin, key::kSaved + table.end},
                     add_page);
}

Result<bool> CollectSaved::IsNeeded(std::string_view key, const std::optional<std::string>& row,
                                    Moments when) {
  if (!AnyOf(all_moments_, when.begin, when.end)) return false;
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
Result<bool> CollectSaved::AreFilesSeen(InodeNumber inode, Moments when) {
  if (versions_.contains(inode)) return IsSeenFrom(inode, when, 0);
  ASSIGN_OR_RETURN(const std::vector<Place>* places, PlacesOf(inode));
  const std::vector<Place> copy = *places;
  for (const Place& place : copy) {
    const Moments both{std::max(when.begin, place.when.begin), std::min(when.end, place.when.end)};
    if (both.begin >= both.end) continue;
    if (place.parent == 0) return true;
    ASSIGN_OR_RETURN(const bool seen, IsSeenFrom(place.parent, both, 0));
    if (seen) return true;
  }
  return false;
}

Result<bool> CollectSaved::IsSeenFrom(InodeNumber directory, Moments when, int depth) {
  if (!AnyOf(all_moments_, when.begin, when.end)) return false;
  if (const auto own = versions_.find(directory);
      own != versions_.end() && AnyOf(own->second, when.begin, when.end))
    return true;
  if (directory == kRootNode) return false;
  if (depth >= kDepthMax) return true;
  ASSIGN_OR_RETURN(const std::vector<Place>* places, PlacesOf(directory));
  const std::vector<Place> copy = *places;  // the table may grow below
  for (const Place& place : copy) {
    const Moments both{std::max(when.begin, place.when.begin), std::min(when.end, place.when.end)};
    if (both.begin >= both.end) continue;
    if (place.parent == 0) return true;
    ASSIGN_OR_RETURN(const bool seen, IsSeenFrom(place.parent, both, depth + 1));
    if (seen) return true;
  }
  return false;
}

// Parent 0: with several names it may have lain anywhere.
Result<const std::vector<CollectSaved::Place>*> CollectSaved::PlacesOf(InodeNumber inode) {
  if (const auto known = places_.find(inode); known != places_.end()) return &known->second;
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
  const std::string key = key::Inode(inode);
  // First the row as it is: what changes meanwhile is saved by then.
  ASSIGN_OR_RETURN(const std::optional<std::string> present, tree_.catalog().Get(key));
  Moment since = 0;
  const key::Range range{key::Saved(key, 0), key::Saved(key, ~Moment{0}) + '\0'};
  const Status walked = ForEachPage(tree_.catalog(), range, [&](const RowPage& page) -> Status {
    for (const auto& [row_key, row] : page) {
      const Moment until = key::SavedUntil(row_key);
      ASSIGN_OR_RETURN(const SavedRow saved, SavedRow::Decode(row));
      if (saved.row) RETURN_IF_ERROR(add({since, until}, *saved.row));
      since = until;
    }
    return Status();
  });
  RETURN_IF_ERROR(walked);
  if (present) RETURN_IF_ERROR(add({since, ~Moment{0}}, *present));
  return &places_.emplace(inode, std::move(places)).first->second;
}

Status CollectSaved::Drop(const std::string& row_key, bool apply) {
  if (!apply) {
    rows_.insert(row_key);
    return Status();
  }
  batch_.Delete(row_key);
  return batch_.changes().size() < kBatchRows ? Status() : Flush();
}

Status CollectSaved::Flush() {
  if (batch_.empty()) return Status();
  MutexLock lock(tree_.mutex());
  return tree_.Apply(std::exchange(batch_, Batch()));
}

}  // namespace varve
