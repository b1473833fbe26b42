#include "fs/core/past_tree.h"

#include <algorithm>

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

Result<std::optional<NamedEntry>> PastTree::Find(InodeNumber parent, std::string_view name) const {
  const uint64_t first = tree_.FirstSlot(name);
  for (uint64_t slot = first; slot < first + Tree::kProbes; ++slot) {
    ASSIGN_OR_RETURN(const std::optional<std::string> row, RowOf(key::Dirent(parent, slot)));
    if (!row) break;
    ASSIGN_OR_RETURN(DirentRecord record, DirentRecord::Decode(*row));
    if (record.name == name) return std::optional<NamedEntry>({slot, std::move(record)});
  }
  return std::optional<NamedEntry>();
}

Result<std::vector<NamedEntry>> PastTree::List(InodeNumber directory, uint64_t after_slot,
                                               size_t limit) const {
  std::vector<NamedEntry> entries;
  key::Range range = key::AllDirents(directory, std::max<uint64_t>(after_slot, Tree::kProbes - 1));
  while (entries.empty() && range.begin < range.end) {
    std::string end;
    ASSIGN_OR_RETURN(const std::vector<Row> rows, RowsOf(range, limit, &end));
    for (const Row& row : rows) {
      ASSIGN_OR_RETURN(DirentRecord record, DirentRecord::Decode(*row.row));
      entries.push_back({key::Slot(row.key), std::move(record)});
    }
    range.begin = std::move(end);
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
