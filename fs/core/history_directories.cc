// What becomes of the history of a directory that is renamed: of its own versions,
// which belong to its name, and of what its names have, which hangs on its history.
//
// Usually a number changes hands. Only where the new name has a history already are
// rows copied: what comes is numbered on behind what is there.

#include <set>

#include "fs/core/directory_history.h"
#include "fs/core/history_writer.h"

namespace varve {
namespace {

constexpr int kPinSuffixMax = 1000;

}  // namespace

Result<bool> HistoryWriter::HasNames(HistoryId history) {
  bool any = false;
  const key::Range range = key::AllNames(history);
  RETURN_IF_ERROR(
      tree_.catalog().Scan(range.begin, range.end, [&](std::string_view, std::string_view) {
        any = true;
        return false;
      }));
  return any;
}

Result<HistoryWriter::Joining> HistoryWriter::JoinIn(Batch* batch) {
  Joining joining{batch, {}};
  for (const Batch::Change& change : batch->changes()) {
    if (change.key[0] != key::kName) continue;
    NameRecord record;
    if (change.value) {
      ASSIGN_OR_RETURN(record, NameRecord::Decode(*change.value));
    }
    joining.names[change.key] = record;
  }
  return joining;
}

Result<NameRecord> HistoryWriter::NameNow(const Joining& joining, HistoryId history,
                                          std::string_view name) {
  const auto changed = joining.names.find(key::Name(history, name));
  if (changed != joining.names.end()) return changed->second;
  return Name(history, name);
}

void HistoryWriter::PutName(HistoryId history, std::string_view name, const NameRecord& record,
                            Joining* joining) {
  std::string row_key = key::Name(history, name);
  joining->names[row_key] = record;
  record.empty() ? joining->batch->Delete(std::move(row_key))
                 : joining->batch->Put(std::move(row_key), record.Encode());
}

Status HistoryWriter::MoveDirectory(const DirectoryMove& move, InodeRecord* record, Batch* batch) {
  ASSIGN_OR_RETURN(const HistoryId from_history, HistoryOf(move.from.parent));
  ASSIGN_OR_RETURN(const HistoryId to_history, HistoryOf(move.to.parent));
  ASSIGN_OR_RETURN(NameRecord from, Name(from_history, move.from.name));
  ASSIGN_OR_RETURN(NameRecord to, Name(to_history, move.to.name));
  if (move.replaced != 0 && to.child_history == 0) {
    // As LeaveDirectory did in this batch.
    ASSIGN_OR_RETURN(const bool leaves, HasNames(move.replaced));
    if (leaves) to.child_history = move.replaced;
  }
  const bool changed = to.child_history != 0 || from.last_directory_version != 0;
  if (!changed) return Status();
  ASSIGN_OR_RETURN(Joining joining, JoinIn(batch));
  if (to.child_history != 0) {
    RETURN_IF_ERROR(AppendHistory({move.inode, record->history, to.child_history}, &joining));
    record->history = std::exchange(to.child_history, 0);
  }
  RETURN_IF_ERROR(AppendDirectoryVersions(from, &to, batch));
  from.directory_versions = 0;
  from.last_directory_version = 0;
  PutName(from_history, move.from.name, from, &joining);
  PutName(to_history, move.to.name, to, &joining);
  return Status();
}

// What the names of one history have continues what they have in another.
Status HistoryWriter::AppendHistory(const Continued& continued, Joining* joining) {
  if (continued.from == continued.to) return Status();
  std::vector<std::string> names;
  const key::Range range = key::AllNames(continued.from);
  RETURN_IF_ERROR(
      tree_.catalog().Scan(range.begin, range.end, [&](std::string_view row_key, std::string_view) {
        names.emplace_back(key::NameOf(row_key));
        return true;
      }));
  for (const std::string& name : names) RETURN_IF_ERROR(AppendName(continued, name, joining));
  return AdoptSubdirectories(continued, joining);
}

Status HistoryWriter::AppendName(const Continued& continued, const std::string& name,
                                 Joining* joining) {
  ASSIGN_OR_RETURN(const NameRecord from, NameNow(*joining, continued.from, name));
  ASSIGN_OR_RETURN(NameRecord to, NameNow(*joining, continued.to, name));
  if (from.last_version > 0) {
    RETURN_IF_ERROR(AppendFileVersions(continued, name, to.last_version, joining->batch));
    to.last_version += from.last_version;
  }
  RETURN_IF_ERROR(AppendDirectoryVersions(from, &to, joining->batch));
  if (from.child_history != 0) {
    if (to.child_history != 0)
      RETURN_IF_ERROR(AppendHistory({0, from.child_history, to.child_history}, joining));
    else
      to.child_history = from.child_history;
  }
  PutName(continued.from, name, NameRecord(), joining);
  PutName(continued.to, name, to, joining);
  return Status();
}

Status HistoryWriter::AppendFileVersions(const Continued& continued, const std::string& name,
                                         VersionNumber after, Batch* batch) {
  const key::Range range = key::AllVersions(continued.from, name);
  return tree_.catalog().Scan(
      range.begin, range.end, [&](std::string_view row_key, std::string_view row) {
        batch->Delete(std::string(row_key));
        batch->Put(key::Version(continued.to, name, after + key::Number(row_key)),
                   std::string(row));
        return true;
      });
}

Status HistoryWriter::AppendDirectoryVersions(const NameRecord& from, NameRecord* to,
                                              Batch* batch) {
  if (from.directory_versions == 0) return Status();
  if (to->directory_versions == 0) {
    to->directory_versions = from.directory_versions;
    to->last_directory_version = from.last_directory_version;
    return Status();
  }
  const VersionNumber after = to->last_directory_version;
  const HistoryId list = to->directory_versions;
  const key::Range versions = key::AllDirectoryVersions(from.directory_versions);
  RETURN_IF_ERROR(tree_.catalog().Scan(
      versions.begin, versions.end, [&](std::string_view row_key, std::string_view row) {
        batch->Delete(std::string(row_key));
        batch->Put(key::DirectoryVersion(list, after + key::Number(row_key)), std::string(row));
        return true;
      }));
  std::vector<std::pair<std::string, VersionNumber>> pins;
  const key::Range range = key::AllPins(from.directory_versions);
  RETURN_IF_ERROR(tree_.catalog().Scan(range.begin, range.end,
                                       [&](std::string_view row_key, std::string_view row) {
                                         const Result<VersionNumber> number = DecodePin(row);
                                         if (number.ok())
                                           pins.emplace_back(key::PinName(row_key), *number);
                                         batch->Delete(std::string(row_key));
                                         return true;
                                       }));
  for (const auto& [name, number] : pins) {
    // A pin of that name stays; the one that comes gets another.
    std::string free = name;
    for (int suffix = 2; suffix < kPinSuffixMax; ++suffix) {
      ASSIGN_OR_RETURN(const std::optional<std::string> taken,
                       tree_.catalog().Get(key::Pin(list, free)));
      if (!taken) break;
      free = name + "." + std::to_string(suffix);
    }
    batch->Put(key::Pin(list, free), EncodePin(after + number));
  }
  to->last_directory_version += from.last_directory_version;
  return Status();
}

// Directories in the renamed one continue what was removed under their names.
Status HistoryWriter::AdoptSubdirectories(const Continued& continued, Joining* joining) {
  if (continued.directory == 0) return Status();
  std::set<std::string> names;
  const key::Range range = key::AllNames(continued.to);
  RETURN_IF_ERROR(
      tree_.catalog().Scan(range.begin, range.end, [&](std::string_view row_key, std::string_view) {
        names.emplace(key::NameOf(row_key));
        return true;
      }));
  for (auto it = joining->names.lower_bound(range.begin);
       it != joining->names.end() && it->first < range.end; ++it)
    names.emplace(key::NameOf(it->first));
  for (const std::string& name : names) {
    ASSIGN_OR_RETURN(const NameRecord waiting, NameNow(*joining, continued.to, name));
    if (waiting.child_history == 0) continue;
    ASSIGN_OR_RETURN(const std::optional<NamedEntry> entry, tree_.Find(continued.directory, name));
    if (!entry || !S_ISDIR(entry->record.type)) continue;
    const InodeNumber inode = entry->record.inode;
    ASSIGN_OR_RETURN(InodeRecord directory, tree_.Inode(inode));
    RETURN_IF_ERROR(AppendHistory({inode, directory.history, waiting.child_history}, joining));
    directory.history = waiting.child_history;
    Tree::PutInode(inode, directory, joining->batch);
    ASSIGN_OR_RETURN(NameRecord adopted, NameNow(*joining, continued.to, name));
    adopted.child_history = 0;
    PutName(continued.to, name, adopted, joining);
  }
  return Status();
}

}  // namespace varve
