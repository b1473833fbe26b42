#include "fs/core/clones.h"

#include <algorithm>
#include <map>

namespace varve {
namespace {

// So many entries of a clone are copied to the next one, rather than make it one layer more.
constexpr size_t kCopiedMax = 256;
constexpr size_t kRemovedAtOnce = 4096;
constexpr size_t kListedAtOnce = 256;

}  // namespace

Status Clones::Load() {
  const key::Range range = key::Table(key::kClone);
  return tree_.catalog().Scan(range.begin, range.end, [&](std::string_view, std::string_view) {
    any_ = true;
    return false;
  });
}

Result<std::optional<CloneRecord>> Clones::Of(InodeNumber directory) {
  if (!any_) return std::optional<CloneRecord>();
  return Present().Clone(directory);
}

Result<std::optional<NamedEntry>> Clones::Find(InodeNumber parent, std::string_view name) {
  ASSIGN_OR_RETURN(std::optional<NamedEntry> entry, tree_.Find(parent, name));
  if (entry) return entry;
  ASSIGN_OR_RETURN(const std::optional<CloneRecord> clone, Of(parent));
  if (!clone) return entry;
  ASSIGN_OR_RETURN(entry, Present().Find(parent, name));
  if (!entry || entry->record.moment == PastTree::kPresent) return entry;
  Batch batch;
  RETURN_IF_ERROR(AppendInode(parent, *clone, &*entry, &batch));
  RETURN_IF_ERROR(tree_.ApplyUnseen(batch));
  return entry;
}

Result<std::vector<NamedEntry>> Clones::List(InodeNumber directory, uint64_t after_slot,
                                             size_t limit) {
  ASSIGN_OR_RETURN(const std::optional<CloneRecord> clone, Of(directory));
  if (!clone) return tree_.List(directory, after_slot, limit);
  ASSIGN_OR_RETURN(std::vector<NamedEntry> entries, Present().List(directory, after_slot, limit));
  Batch batch;
  for (NamedEntry& entry : entries)
    if (entry.record.moment != PastTree::kPresent)
      RETURN_IF_ERROR(AppendInode(directory, *clone, &entry, &batch));
  if (!batch.empty()) RETURN_IF_ERROR(tree_.ApplyUnseen(batch));
  return entries;
}

Result<bool> Clones::IsEmpty(InodeNumber directory) {
  ASSIGN_OR_RETURN(const std::optional<CloneRecord> clone, Of(directory));
  if (!clone) return tree_.IsEmpty(directory);
  // Much may be gone in front of the first that is there.
  ASSIGN_OR_RETURN(const std::vector<NamedEntry> first,
                   Present().List(directory, 0, kListedAtOnce));
  return first.empty();
}

Result<uint64_t> Clones::SlotForNew(InodeNumber parent, std::string_view name) {
  ASSIGN_OR_RETURN(const std::optional<CloneRecord> clone, Of(parent));
  if (!clone) return tree_.SlotForNew(parent, name);
  if (name.size() > kNameBytesMax) return Status::Errno(ENAMETOOLONG);
  if (name == ".varve") return Status::Errno(EEXIST);
  ASSIGN_OR_RETURN(const std::optional<NamedEntry> present, Present().Find(parent, name));
  if (present) return Status::Errno(EEXIST);
  const uint64_t first = tree_.FirstSlot(name);
  for (uint64_t slot = first; slot < first + Tree::kProbes; ++slot) {
    ASSIGN_OR_RETURN(const std::optional<NamedEntry> taken, Present().FindSlot(parent, slot));
    if (!taken || taken->record.gone()) return slot;
  }
  return Status::Errno(ENOSPC);
}

Status Clones::RemoveName(InodeNumber parent, uint64_t slot, Batch* batch) {
  ASSIGN_OR_RETURN(const std::optional<CloneRecord> clone, Of(parent));
  if (!clone) return tree_.RemoveName(parent, slot, batch);
  const PastTree behind(tree_, clone->original.moment);
  ASSIGN_OR_RETURN(const std::optional<NamedEntry> hidden,
                   behind.FindSlot(clone->original.inode, slot));
  // A free slot ends a search: it has to stay taken where one goes on.
  bool taken = hidden && !hidden->record.gone();
  if (!hidden && (slot + 1) % Tree::kProbes != 0) {
    ASSIGN_OR_RETURN(const std::optional<NamedEntry> next, Present().FindSlot(parent, slot + 1));
    taken = next.has_value();
  }
  if (taken) {
    Tree::PutName(parent, slot, DirentRecord(), batch);
  } else {
    batch->Delete(key::Dirent(parent, slot));
  }
  return Status();
}

Status Clones::Append(InodeNumber directory, CloneRecord clone, Batch* batch) {
  any_ = true;
  std::map<uint64_t, DirentRecord> entries;
  while (true) {
    const PastTree past(tree_, clone.original.moment);
    ASSIGN_OR_RETURN(const std::optional<CloneRecord> below, past.Clone(clone.original.inode));
    if (!below) break;
    ASSIGN_OR_RETURN(std::vector<NamedEntry> own,
                     past.OwnEntries(clone.original.inode, kCopiedMax + 1));
    if (entries.size() + own.size() > kCopiedMax) break;
    if (!own.empty()) clone.layers.push_back(clone.original);
    clone.layers.insert(clone.layers.end(), below->layers.begin(), below->layers.end());
    for (NamedEntry& entry : own) {
      if (entry.record.gone()) entry.record.moment = 0;
      entries.try_emplace(entry.slot, std::move(entry.record));
    }
    clone.original = below->original;
  }
  for (const auto& [slot, record] : entries) Tree::PutName(directory, slot, record, batch);
  batch->Put(key::Clone(directory), clone.Encode());
  return Status();
}

Status Clones::AppendRemoval(InodeNumber directory, Batch* batch) {
  ASSIGN_OR_RETURN(const std::optional<CloneRecord> clone, Of(directory));
  if (!clone) return Status();
  const key::Range range = key::AllDirents(directory);
  while (true) {
    Batch some;
    RETURN_IF_ERROR(tree_.catalog().Scan(range.begin, range.end,
                                         [&](std::string_view row_key, std::string_view) {
                                           some.Delete(std::string(row_key));
                                           return some.changes().size() < kRemovedAtOnce;
                                         }));
    if (some.changes().size() < kRemovedAtOnce) {
      some.Delete(key::Clone(directory));
      batch->Append(some);
      return Status();
    }
    RETURN_IF_ERROR(tree_.ApplyUnseen(some));
  }
}

// The content is the original's: who writes to it begins one of his own (live_files.h).
Status Clones::AppendInode(InodeNumber parent, const CloneRecord& clone, NamedEntry* entry,
                           Batch* batch) {
  DirentRecord& name = entry->record;
  const PastInode original{name.inode, name.moment};
  const PastTree past(tree_, original.moment);
  ASSIGN_OR_RETURN(InodeRecord record, past.Inode(original.inode));
  ASSIGN_OR_RETURN(const InodeNumber inode, tree_.NewId());
  record.parent = parent;
  record.name = name.name;
  record.history = 0;
  record.change_time = record.birth_time = clone.clone_time;
  if (!S_ISDIR(record.mode)) record.links = 1;
  if (record.content != 0) {
    // A power cut may have left nothing of it since.
    ASSIGN_OR_RETURN(const ContentRecord content, tree_.Content(record.content));
    record.size_bytes = std::min(record.size_bytes, content.size_bytes);
    record.hole_bytes = std::min(record.hole_bytes, record.size_bytes);
    RETURN_IF_ERROR(history_.ListUnder({parent, name.name}, inode, record, record.content, batch));
  }
  if (S_ISDIR(record.mode)) {
    ASSIGN_OR_RETURN(record.history, history_.AdoptDirectory({parent, name.name}, batch));
    if (record.history == 0) record.history = inode;
    RETURN_IF_ERROR(Append(inode, {original, {}, clone.clone_time, ""}, batch));
  }
  if (S_ISLNK(record.mode)) {
    ASSIGN_OR_RETURN(std::string target, past.SymlinkTarget(original.inode));
    batch->Put(key::Symlink(inode), std::move(target));
  }
  ASSIGN_OR_RETURN(const std::vector<std::string> xattrs, past.XattrNames(original.inode));
  for (const std::string& xattr : xattrs) {
    ASSIGN_OR_RETURN(std::optional<std::string> value, past.Xattr(original.inode, xattr));
    if (value) batch->Put(key::Xattr(inode, xattr), *std::move(value));
  }
  name.inode = inode;
  name.moment = PastTree::kPresent;
  Tree::PutInode(inode, record, batch);
  Tree::PutName(parent, entry->slot, name, batch);
  return Status();
}

}  // namespace varve
