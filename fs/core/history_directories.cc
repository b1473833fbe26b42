// What becomes of the history of a directory that is renamed: of its own versions,
// which belong to its name, and of what its names have, which hangs on its history.
//
// Usually a number changes hands. Only where the new name has a history already are
// rows copied: what comes is numbered on behind what is there.

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

Status HistoryWriter::MoveDirectory(const DirectoryMove& move, InodeRecord* record, Batch* batch) {
  ASSIGN_OR_RETURN(const HistoryId from_history, HistoryOf(move.from.parent));
  ASSIGN_OR_RETURN(const HistoryId to_history, HistoryOf(move.to.parent));
  ASSIGN_OR_RETURN(NameRecord from, Name(from_history, move.from.name));
  ASSIGN_OR_RETURN(NameRecord to, Name(to_history, move.to.name));
  if (move.replaced != 0) {
    // As LeaveDirectory did in this batch.
    ASSIGN_OR_RETURN(const bool leaves, HasNames(move.replaced));
    if (leaves) to.child_history = move.replaced;
  }
  const bool changed = to.child_history != 0 || from.last_directory_version != 0;
  if (!changed) return Status();
  if (to.child_history != 0) {
    RETURN_IF_ERROR(AppendHistory({move.inode, record->history, to.child_history}, batch));
    record->history = std::exchange(to.child_history, 0);
  }
  RETURN_IF_ERROR(AppendDirectoryVersions(from, &to, batch));
  from.directory_versions = 0;
  from.last_directory_version = 0;
  std::string from_row = key::Name(from_history, move.from.name);
  from.empty() ? batch->Delete(std::move(from_row))
               : batch->Put(std::move(from_row), from.Encode());
  batch->Put(key::Name(to_history, move.to.name), to.Encode());
  return Status();
}

// What the names of one history have continues what they have in another.
Status HistoryWriter::AppendHistory(const Continued& continued, Batch* batch) {
  std::vector<std::pair<std::string, NameRecord>> names;
  Status damaged;
  const key::Range range = key::AllNames(continued.from);
  RETURN_IF_ERROR(tree_.catalog().Scan(range.begin, range.end,
                                       [&](std::string_view row_key, std::string_view row) {
                                         Result<NameRecord> name = NameRecord::Decode(row);
                                         damaged = name.status();
                                         if (!name.ok()) return false;
                                         names.emplace_back(key::NameOf(row_key), *name);
                                         return true;
                                       }));
  RETURN_IF_ERROR(damaged);
  for (const auto& [name, record] : names)
    RETURN_IF_ERROR(AppendName(continued, name, record, batch));
  return AdoptSubdirectories(continued, batch);
}

Status HistoryWriter::AppendName(const Continued& continued, const std::string& name,
                                 NameRecord from, Batch* batch) {
  ASSIGN_OR_RETURN(NameRecord to, Name(continued.to, name));
  if (from.last_version > 0) {
    RETURN_IF_ERROR(AppendFileVersions(continued, name, to.last_version, batch));
    to.last_version += from.last_version;
  }
  RETURN_IF_ERROR(AppendDirectoryVersions(from, &to, batch));
  if (from.child_history != 0) {
    if (to.child_history != 0)
      RETURN_IF_ERROR(AppendHistory({0, from.child_history, to.child_history}, batch));
    else
      to.child_history = from.child_history;
  } else if (to.child_history != 0 && continued.directory != 0) {
    ASSIGN_OR_RETURN(const std::optional<NamedEntry> entry, tree_.Find(continued.directory, name));
    // AdoptSubdirectories gives it to the one that is there.
    if (entry && S_ISDIR(entry->record.type)) to.child_history = 0;
  }
  batch->Delete(key::Name(continued.from, name));
  batch->Put(key::Name(continued.to, name), to.Encode());
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
Status HistoryWriter::AdoptSubdirectories(const Continued& continued, Batch* batch) {
  if (continued.directory == 0) return Status();
  std::vector<std::pair<std::string, NameRecord>> waiting;
  const key::Range range = key::AllNames(continued.to);
  RETURN_IF_ERROR(tree_.catalog().Scan(range.begin, range.end,
                                       [&](std::string_view row_key, std::string_view row) {
                                         const Result<NameRecord> name = NameRecord::Decode(row);
                                         if (name.ok() && name->child_history != 0)
                                           waiting.emplace_back(key::NameOf(row_key), *name);
                                         return true;
                                       }));
  for (auto& [name, record] : waiting) {
    ASSIGN_OR_RETURN(const std::optional<NamedEntry> entry, tree_.Find(continued.directory, name));
    if (!entry || !S_ISDIR(entry->record.type)) continue;
    const InodeNumber inode = entry->record.inode;
    ASSIGN_OR_RETURN(InodeRecord directory, tree_.Inode(inode));
    RETURN_IF_ERROR(AppendHistory({inode, directory.history, record.child_history}, batch));
    directory.history = record.child_history;
    Tree::PutInode(inode, directory, batch);
    // A name with a record on both sides was written by AppendName already.
    ASSIGN_OR_RETURN(const std::optional<std::string> both,
                     tree_.catalog().Get(key::Name(continued.from, name)));
    if (both) continue;
    record.child_history = 0;
    std::string row = key::Name(continued.to, name);
    record.empty() ? batch->Delete(std::move(row)) : batch->Put(std::move(row), record.Encode());
  }
  return Status();
}

}  // namespace varve
