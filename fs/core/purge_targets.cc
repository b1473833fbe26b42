#include "fs/core/purge_targets.h"

#include <sys/stat.h>

#include "fs/core/row_pages.h"

namespace varve {
namespace {

constexpr Moments kEver{0, ~Moment{0}};

}  // namespace

Status PurgeTargets::Find(HistoryId history, const std::string& name) {
  RETURN_IF_ERROR(clones_.AddClones());
  RETURN_IF_ERROR(FindDirectories());
  return AddName(history, name);
}

// A name that is removed and made again goes on with its history, in another inode.
Status PurgeTargets::FindDirectories() {
  const auto add = [&](InodeNumber inode, std::string_view row) -> Status {
    ASSIGN_OR_RETURN(const InodeRecord record, InodeRecord::Decode(row));
    if (S_ISDIR(record.mode)) directories_[record.history].insert(inode);
    return Status();
  };
  const key::Range present = key::Table(key::kInode);
  const Status walked = ForEachPage(catalog_, present, [&](const RowPage& page) -> Status {
    for (const auto& [row_key, row] : page) RETURN_IF_ERROR(add(key::Id(row_key), row));
    return pause_() ? Status() : Status(Code::kBusy);
  });
  RETURN_IF_ERROR(walked);
  const key::Range past{key::kSaved + present.begin, key::kSaved + present.end};
  return ForEachPage(catalog_, past, [&](const RowPage& page) -> Status {
    for (const auto& [row_key, row] : page) {
      ASSIGN_OR_RETURN(const SavedRow saved, SavedRow::Decode(row));
      if (saved.row) RETURN_IF_ERROR(add(key::Id(key::SavedKey(row_key)), *saved.row));
    }
    return pause_() ? Status() : Status(Code::kBusy);
  });
}

Status PurgeTargets::AddName(HistoryId history, const std::string& name) {
  const Status walked =
      ForEachPage(catalog_, key::AllVersions(history, name), [&](const RowPage& page) -> Status {
        for (const auto& [row_key, row] : page) {
          ASSIGN_OR_RETURN(const VersionRecord version, VersionRecord::Decode(row));
          if (version.content != 0) contents_.insert(version.content);
        }
        return Status();
      });
  RETURN_IF_ERROR(walked);
  ASSIGN_OR_RETURN(const std::optional<std::string> row, catalog_.Get(key::Name(history, name)));
  if (row) {
    ASSIGN_OR_RETURN(const NameRecord counters, NameRecord::Decode(*row));
    if (counters.child_history != 0) RETURN_IF_ERROR(AddHistory(counters.child_history));
  }
  for (const InodeNumber directory : directories_[history])
    RETURN_IF_ERROR(AddEntries(directory, kEver, &name));
  return Status();
}

Status PurgeTargets::AddHistory(HistoryId history) {
  if (!histories_.insert(history).second) return Status();
  std::vector<std::string> names;
  const Status walked =
      ForEachPage(catalog_, key::AllNames(history), [&](const RowPage& page) -> Status {
        for (const auto& [row_key, row] : page) names.emplace_back(key::NameOf(row_key));
        return pause_() ? Status() : Status(Code::kBusy);
      });
  RETURN_IF_ERROR(walked);
  for (const std::string& name : names) RETURN_IF_ERROR(AddName(history, name));
  return Status();
}

// Entries that name a moment are a clone's, of files that are not its own.
Status PurgeTargets::AddEntries(InodeNumber directory, Moments when, const std::string* name) {
  if (!pause_()) return Status(Code::kBusy);
  std::set<std::string> slots;
  const key::Range present = key::AllDirents(directory);
  const Status walked = ForEachPage(catalog_, present, [&](const RowPage& page) -> Status {
    for (const auto& [row_key, row] : page) slots.insert(row_key);
    return Status();
  });
  RETURN_IF_ERROR(walked);
  const key::Range past{key::kSaved + present.begin, key::kSaved + present.end};
  const Status walked_past = ForEachPage(catalog_, past, [&](const RowPage& page) -> Status {
    for (const auto& [row_key, row] : page) slots.emplace(key::SavedKey(row_key));
    return Status();
  });
  RETURN_IF_ERROR(walked_past);
  for (const std::string& slot : slots) {
    const auto enter = [&](Moments then, std::string_view row) -> Status {
      ASSIGN_OR_RETURN(const DirentRecord entry, DirentRecord::Decode(row));
      if (entry.gone() || entry.moment != 0 || (name != nullptr && entry.name != *name))
        return Status();
      return AddInode(entry.inode, Common(when, then));
    };
    RETURN_IF_ERROR(ForEachState(catalog_, slot, enter));
  }
  return Status();
}

Status PurgeTargets::AddInode(InodeNumber inode, Moments when) {
  if (when.empty() || !entered_.emplace(inode, when.begin, when.end).second) return Status();
  return ForEachState(catalog_, key::Inode(inode), [&](Moments then, std::string_view row) {
    const Moments both = Common(when, then);
    return both.empty() ? Status() : AddState(inode, both, row);
  });
}

Status PurgeTargets::AddState(InodeNumber inode, Moments when, std::string_view row) {
  ASSIGN_OR_RETURN(const InodeRecord record, InodeRecord::Decode(row));
  if (S_ISDIR(record.mode)) {
    RETURN_IF_ERROR(AddHistory(record.history));
    return AddEntries(inode, when, nullptr);
  }
  if (!S_ISREG(record.mode) || record.content == 0) return Status();
  contents_.insert(record.content);
  ASSIGN_OR_RETURN(const bool cloned, clones_.LeadTo(key::Inode(inode), std::string(row), when));
  if (cloned) shown_by_clones_.insert(record.content);
  return Status();
}

}  // namespace varve
