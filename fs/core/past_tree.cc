#include "fs/core/past_tree.h"

#include <algorithm>
#include <iterator>

namespace varve {
namespace {

// So many rows of later moments are passed over before it is cheaper to seek.
constexpr unsigned kPassedOverMax = 64;

// Behind every saved row of a key.
std::string AfterSaved(const std::string& key) {
  std::string end = key::Saved(key, ~Moment{0});
  end.push_back('\0');
  return end;
}

}  // namespace

// The present row is read before the saved ones: what changes in between is saved by
// then, in the same batch.
Result<std::optional<std::string>> PastTree::RowOf(const std::string& key) const {
  ASSIGN_OR_RETURN(std::optional<std::string> row, tree_.catalog().Get(key));
  if (moment_ == kPresent) return row;
  Status damaged;
  RETURN_IF_ERROR(tree_.catalog().Scan(key::Saved(key, moment_ + 1), AfterSaved(key),
                                       [&](std::string_view, std::string_view value) {
                                         Result<SavedRow> saved = SavedRow::Decode(value);
                                         damaged = saved.status();
                                         if (saved.ok()) row = std::move(saved->row);
                                         return false;
                                       }));
  RETURN_IF_ERROR(damaged);
  return row;
}

Result<std::vector<PastTree::Row>> PastTree::SavedRowsOf(const key::Range& range, size_t limit,
                                                         std::string* end) const {
  std::vector<Row> rows;
  *end = range.end;
  std::string from = key::kSaved + range.begin;
  const std::string to = key::kSaved + range.end;
  for (bool done = false; !done;) {
    done = true;
    unsigned passed_over = 0;
    Status damaged;
    RETURN_IF_ERROR(
        tree_.catalog().Scan(from, to, [&](std::string_view row_key, std::string_view value) {
          const std::string_view key = key::SavedKey(row_key);
          const bool known = !rows.empty() && rows.back().key == key;
          if (known || key::SavedUntil(row_key) <= moment_) {
            if (++passed_over < kPassedOverMax) return true;
            const std::string of(key);
            from = known ? AfterSaved(of) : key::Saved(of, moment_ + 1);
            done = false;
            return false;
          }
          passed_over = 0;
          if (rows.size() == limit) {
            *end = std::string(key);
            return false;
          }
          Result<SavedRow> saved = SavedRow::Decode(value);
          damaged = saved.status();
          if (!saved.ok()) return false;
          rows.push_back({std::string(key), std::move(saved->row)});
          return true;
        }));
    RETURN_IF_ERROR(damaged);
  }
  return rows;
}

Result<std::vector<PastTree::Row>> PastTree::RowsOf(const key::Range& range, size_t limit,
                                                    std::string* end) const {
  std::vector<Row> present;
  *end = range.end;
  RETURN_IF_ERROR(tree_.catalog().Scan(
      range.begin, range.end, [&](std::string_view row_key, std::string_view row) {
        if (present.size() == limit) {
          *end = std::string(row_key);
          return false;
        }
        present.push_back({std::string(row_key), std::string(row)});
        return true;
      }));
  if (moment_ == kPresent) return present;
  ASSIGN_OR_RETURN(std::vector<Row> saved, SavedRowsOf({range.begin, *end}, limit, end));
  std::erase_if(present, [&](const Row& row) { return row.key >= *end; });
  // Where both are, the saved one tells what was.
  std::vector<Row> rows;
  rows.reserve(present.size() + saved.size());
  auto at = present.begin();
  for (Row& one : saved) {
    for (; at != present.end() && at->key < one.key; ++at) rows.push_back(std::move(*at));
    if (at != present.end() && at->key == one.key) ++at;
    if (one.row) rows.push_back(std::move(one));
  }
  std::move(at, present.end(), std::back_inserter(rows));
  return rows;
}

Result<InodeRecord> PastTree::Inode(InodeNumber inode) const {
  ASSIGN_OR_RETURN(const std::optional<std::string> row, RowOf(key::Inode(inode)));
  if (!row) return Status(Code::kNotFound);
  return InodeRecord::Decode(*row);
}

Result<std::optional<CloneRecord>> PastTree::Clone(InodeNumber directory) const {
  ASSIGN_OR_RETURN(const std::optional<std::string> row, RowOf(key::Clone(directory)));
  if (!row) return std::optional<CloneRecord>();
  ASSIGN_OR_RETURN(CloneRecord clone, CloneRecord::Decode(*row));
  // What a moment shows was cloned before.
  if (moment_ != kPresent && clone.original.moment >= moment_)
    return Status(Code::kCorrupt, "a clone is of what came after it");
  return std::optional(std::move(clone));
}

Result<NamedEntry> PastTree::Entry(uint64_t slot, std::string_view row) const {
  NamedEntry entry;
  entry.slot = slot;
  ASSIGN_OR_RETURN(entry.record, DirentRecord::Decode(row));
  if (entry.record.moment == 0) entry.record.moment = moment_;
  return entry;
}

Status PastTree::AddLayer(Layers* layers) const {
  const PastInode last = layers->back();
  ASSIGN_OR_RETURN(const std::optional<CloneRecord> clone,
                   PastTree(tree_, last.moment).Clone(last.inode));
  layers->push_back(clone ? clone->original : PastInode());
  return Status();
}

// The last layer is no inode once all are known.
Result<std::optional<NamedEntry>> PastTree::FindInLayers(uint64_t slot, Layers* layers,
                                                         bool* end) const {
  *end = false;
  for (size_t i = 0;; ++i) {
    if (i == layers->size()) RETURN_IF_ERROR(AddLayer(layers));
    const PastInode layer = (*layers)[i];
    if (layer.inode == 0) break;
    const PastTree past(tree_, layer.moment);
    ASSIGN_OR_RETURN(const std::optional<std::string> row,
                     past.RowOf(key::Dirent(layer.inode, slot)));
    if (!row) continue;
    ASSIGN_OR_RETURN(NamedEntry entry, past.Entry(slot, *row));
    return std::optional(std::move(entry));
  }
  *end = true;
  return std::optional<NamedEntry>();
}

Result<std::optional<NamedEntry>> PastTree::FindSlot(InodeNumber parent, uint64_t slot) const {
  Layers layers = {{parent, moment_}};
  bool end = false;
  return FindInLayers(slot, &layers, &end);
}

Result<std::optional<NamedEntry>> PastTree::Find(InodeNumber parent, std::string_view name) const {
  const uint64_t first = tree_.FirstSlot(name);
  Layers layers = {{parent, moment_}};
  for (uint64_t slot = first; slot < first + Tree::kProbes; ++slot) {
    bool end = false;
    ASSIGN_OR_RETURN(std::optional<NamedEntry> entry, FindInLayers(slot, &layers, &end));
    if (end) break;
    if (entry->record.name == name) return entry;
  }
  return std::optional<NamedEntry>();
}

Result<PastTree::Part> PastTree::OwnPart(InodeNumber directory, uint64_t after_slot,
                                         size_t limit) const {
  Part part;
  const key::Range range =
      key::AllDirents(directory, std::max<uint64_t>(after_slot, Tree::kProbes - 1));
  std::string end;
  ASSIGN_OR_RETURN(const std::vector<Row> rows, RowsOf(range, limit, &end));
  if (end != range.end) part.end_slot = key::Slot(end);
  part.entries.reserve(rows.size());
  for (const Row& row : rows) {
    ASSIGN_OR_RETURN(NamedEntry entry, Entry(key::Slot(row.key), *row.row));
    part.entries.push_back(std::move(entry));
  }
  return part;
}

// Of two layers, the upper one's entry counts.
Result<PastTree::Part> PastTree::PartOf(InodeNumber directory, uint64_t after_slot,
                                        size_t limit) const {
  ASSIGN_OR_RETURN(Part own, OwnPart(directory, after_slot, limit));
  ASSIGN_OR_RETURN(const std::optional<CloneRecord> clone, Clone(directory));
  if (!clone) return own;
  const PastTree past(tree_, clone->original.moment);
  ASSIGN_OR_RETURN(Part below, past.PartOf(clone->original.inode, after_slot, limit));
  Part both;
  both.end_slot = std::min(own.end_slot, below.end_slot);
  both.entries.reserve(own.entries.size() + below.entries.size());
  std::set_union(std::make_move_iterator(own.entries.begin()),
                 std::make_move_iterator(own.entries.end()),
                 std::make_move_iterator(below.entries.begin()),
                 std::make_move_iterator(below.entries.end()), std::back_inserter(both.entries),
                 [](const NamedEntry& a, const NamedEntry& b) { return a.slot < b.slot; });
  std::erase_if(both.entries, [&](const NamedEntry& entry) { return entry.slot >= both.end_slot; });
  return both;
}

Result<std::vector<NamedEntry>> PastTree::List(InodeNumber directory, uint64_t after_slot,
                                               size_t limit) const {
  while (true) {
    ASSIGN_OR_RETURN(Part part, PartOf(directory, after_slot, limit));
    std::erase_if(part.entries, [](const NamedEntry& entry) { return entry.record.gone(); });
    if (!part.entries.empty() || part.end_slot == kAllSlots) return std::move(part.entries);
    after_slot = part.end_slot - 1;
  }
}

Result<std::vector<NamedEntry>> PastTree::OwnEntries(InodeNumber directory, size_t limit) const {
  std::vector<NamedEntry> entries;
  for (uint64_t after_slot = 0; entries.size() < limit;) {
    ASSIGN_OR_RETURN(Part part, OwnPart(directory, after_slot, limit));
    std::move(part.entries.begin(), part.entries.end(), std::back_inserter(entries));
    if (part.end_slot == kAllSlots) break;
    after_slot = part.end_slot - 1;
  }
  return entries;
}

Result<std::string> PastTree::SymlinkTarget(InodeNumber inode) const {
  ASSIGN_OR_RETURN(std::optional<std::string> row, RowOf(key::Symlink(inode)));
  if (!row) return Status(Code::kNotFound);
  return *std::move(row);
}

Result<std::optional<std::string>> PastTree::Xattr(InodeNumber inode, std::string_view name) const {
  return RowOf(key::Xattr(inode, name));
}

Result<std::vector<std::string>> PastTree::XattrNames(InodeNumber inode) const {
  std::vector<std::string> names;
  key::Range range = key::AllXattrs(inode);
  while (range.begin < range.end) {
    std::string end;
    ASSIGN_OR_RETURN(const std::vector<Row> rows, RowsOf(range, Catalog::kScanKeysMax, &end));
    for (const Row& row : rows) names.emplace_back(key::XattrName(row.key));
    range.begin = std::move(end);
  }
  return names;
}

}  // namespace varve
