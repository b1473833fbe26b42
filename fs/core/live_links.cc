// Hard links, and the removal of names.

#include <utility>

#include "fs/core/live_nodes.h"
#include "store/base/log.h"

namespace varve {
namespace {

constexpr size_t kForgottenMax = 64;

}  // namespace

Result<Entry> LiveNodes::MakeLink(const Caller&, NodeId node, NodeId parent,
                                  std::string_view name) {
  MutexLock lock(d_.tree.mutex());
  RETURN_IF_ERROR(Writable());
  ASSIGN_OR_RETURN(InodeRecord record, d_.tree.Inode(node));
  if (S_ISDIR(record.mode)) return Status::Errno(EPERM);
  const bool unnamed = record.links == 0;
  if (unnamed && !orphans_.contains(node)) return Status::Errno(ENOENT);
  if (record.links >= 65'000) return Status::Errno(EMLINK);
  ASSIGN_OR_RETURN(InodeRecord directory, ParentLocked(parent));
  RETURN_IF_ERROR(RequireChangeableLocked(node));
  RETURN_IF_ERROR(RequireOpenDirectoryLocked(parent));
  ASSIGN_OR_RETURN(const uint64_t slot, d_.clones.SlotForNew(parent, name));
  const struct timespec now = d_.tree.Now();
  Batch batch;
  if (record.links == 1) batch.Put(key::Link(node, record.parent, record.name), "");
  if (record.links >= 1) batch.Put(key::Link(node, parent, name), "");
  ++record.links;
  record.parent = parent;
  record.name = name;
  record.change_time = now;
  directory.modify_time = directory.change_time = now;
  Tree::PutInode(node, record, &batch);
  Tree::PutInode(parent, directory, &batch);
  Tree::PutName(parent, slot, {node, record.mode & S_IFMT, std::string(name)}, &batch);
  if (unnamed) batch.Delete(key::Orphan(node));
  if (record.content != 0) {
    // What was captured already shows under the new name too.
    ASSIGN_OR_RETURN(const ContentRecord content, d_.tree.Content(record.content));
    if (content.captured)
      RETURN_IF_ERROR(d_.history.CaptureUnder({parent, std::string(name)}, node, record,
                                              record.content, &batch));
  }
  RETURN_IF_ERROR(d_.tree.Apply(batch));
  if (unnamed) orphans_.erase(node);
  return EntryOfLocked(node, record);
}

// An inode that loses one of its names: keeps its rows of names in order.
Status LiveNodes::RemoveLinkRowsLocked(InodeNumber inode, InodeRecord* record, const LinkName& gone,
                                       Batch* batch) {
  if (record->links < 2) return Status();
  ASSIGN_OR_RETURN(const std::vector<LinkName> names, d_.tree.Names(inode, *record));
  batch->Delete(key::Link(inode, gone.parent, gone.name));
  for (const LinkName& name : names) {
    if (name.parent == gone.parent && name.name == gone.name) continue;
    record->parent = name.parent;
    record->name = name.name;
    if (record->links == 2) batch->Delete(key::Link(inode, name.parent, name.name));
    break;
  }
  return Status();
}

Status LiveNodes::LoseNameLocked(InodeNumber parent, const NamedEntry& entry, InodeRecord* record,
                                 Batch* batch, std::vector<StageId>* dropped) {
  const InodeNumber inode = entry.record.inode;
  record->change_time = d_.tree.Now();
  if (S_ISDIR(record->mode)) {
    RETURN_IF_ERROR(d_.history.LeaveDirectory({parent, entry.record.name}, record->history, batch));
    record->links = 0;
    seals_.AppendGone(inode, batch);
  } else {
    RETURN_IF_ERROR(RemoveLinkRowsLocked(inode, record, {parent, entry.record.name}, batch));
    --record->links;
    if (record->links > 0 && record->content != 0)
      RETURN_IF_ERROR(d_.files.AppendSharedLocked(record->content, batch));
  }
  const bool known = lookups_.contains(inode) || d_.files.FindLocked(inode) != nullptr;
  if (record->links > 0 || known) {
    Tree::PutInode(inode, *record, batch);
    if (record->links == 0) batch->Put(key::Orphan(inode), "");
    return Status();
  }
  return AppendRemovalLocked(inode, *record, batch, dropped);
}

void LiveNodes::UnlinkedLocked(InodeNumber inode, const InodeRecord& record,
                               const std::vector<StageId>& dropped) {
  d_.files.RemoveStages(dropped);
  if (record.links == 0 && (lookups_.contains(inode) || d_.files.FindLocked(inode) != nullptr))
    orphans_[inode] = true;
}

Status LiveNodes::AppendRemovalLocked(InodeNumber inode, const InodeRecord& record, Batch* batch,
                                      std::vector<StageId>* dropped) {
  batch->Delete(key::Inode(inode));
  batch->Delete(key::Orphan(inode));
  if (S_ISLNK(record.mode)) batch->Delete(key::Symlink(inode));
  const key::Range xattrs = key::AllXattrs(inode);
  RETURN_IF_ERROR(d_.tree.catalog().Scan(xattrs.begin, xattrs.end,
                                         [&](std::string_view row_key, std::string_view) {
                                           batch->Delete(std::string(row_key));
                                           return true;
                                         }));
  if (S_ISDIR(record.mode)) return d_.clones.AppendRemoval(inode, batch);
  return d_.files.DropContentLocked(inode, record.content, batch, dropped);
}

bool LiveNodes::IsForgottenLocked(InodeNumber inode) {
  if (!orphans_.contains(inode) || lookups_.contains(inode)) return false;
  const std::shared_ptr<OpenFile> file = d_.files.FindLocked(inode);
  return !file || file->handles == 0;
}

void LiveNodes::RemoveIfForgottenLocked(InodeNumber inode) {
  if (!IsForgottenLocked(inode)) return;
  forgotten_.push_back(inode);
  if (forgotten_.size() >= kForgottenMax) RemoveForgottenLocked();
}

void LiveNodes::RemoveForgotten() {
  MutexLock lock(d_.tree.mutex());
  RemoveForgottenLocked();
}

void LiveNodes::RemoveForgottenLocked() {
  Batch batch;
  std::vector<StageId> dropped;
  for (const InodeNumber inode : std::exchange(forgotten_, {})) {
    if (!IsForgottenLocked(inode)) continue;  // it is open again, or was listed twice
    if (d_.files.FindLocked(inode)) {         // it is being flushed
      forgotten_.push_back(inode);
      continue;
    }
    const Result<InodeRecord> record = d_.tree.Inode(inode);
    Status status = record.status();
    if (record.ok()) status = AppendRemovalLocked(inode, *record, &batch, &dropped);
    if (!status.ok()) LogWarning("cannot remove inode {} yet: {}", inode, status.ToString());
    orphans_.erase(inode);
  }
  if (batch.empty()) return;
  const Status removed = d_.tree.Apply(batch);
  if (removed.ok()) {
    d_.files.RemoveStages(dropped);
  } else {
    // They are found as orphans at the next mount.
    LogWarning("removed inodes keep their room until the next mount: {}", removed.ToString());
  }
}

Status LiveNodes::RemoveOrphansLocked() {
  std::vector<InodeNumber> orphans;
  const key::Range range = key::Table(key::kOrphan);
  RETURN_IF_ERROR(d_.tree.catalog().Scan(range.begin, range.end,
                                         [&](std::string_view row_key, std::string_view) {
                                           orphans.push_back(key::Id(row_key));
                                           return true;
                                         }));
  for (const InodeNumber inode : orphans) {
    orphans_[inode] = true;
    RemoveIfForgottenLocked(inode);
  }
  RemoveForgottenLocked();
  return Status();
}

Status LiveNodes::RemoveFile(const Caller&, NodeId parent, std::string_view name) {
  MutexLock lock(d_.tree.mutex());
  RETURN_IF_ERROR(Writable());
  ASSIGN_OR_RETURN(InodeRecord directory, d_.tree.Inode(parent));
  ASSIGN_OR_RETURN(const std::optional<NamedEntry> found, d_.clones.Find(parent, name));
  if (!found) return Status::Errno(ENOENT);
  RETURN_IF_ERROR(RequireOpenDirectoryLocked(parent));
  if (S_ISDIR(found->record.type)) return Status::Errno(EISDIR);
  const InodeNumber inode = found->record.inode;
  ASSIGN_OR_RETURN(InodeRecord record, d_.tree.Inode(inode));
  Batch batch;
  std::vector<StageId> dropped;
  RETURN_IF_ERROR(d_.clones.RemoveName(parent, found->slot, &batch));
  RETURN_IF_ERROR(LoseNameLocked(parent, *found, &record, &batch, &dropped));
  directory.modify_time = directory.change_time = record.change_time;
  Tree::PutInode(parent, directory, &batch);
  RETURN_IF_ERROR(d_.tree.Apply(batch));
  UnlinkedLocked(inode, record, dropped);
  return Status();
}

Status LiveNodes::RemoveDirectory(const Caller&, NodeId parent, std::string_view name) {
  MutexLock lock(d_.tree.mutex());
  RETURN_IF_ERROR(Writable());
  ASSIGN_OR_RETURN(InodeRecord directory, d_.tree.Inode(parent));
  ASSIGN_OR_RETURN(const std::optional<NamedEntry> found, d_.clones.Find(parent, name));
  if (!found) return Status::Errno(ENOENT);
  RETURN_IF_ERROR(RequireOpenDirectoryLocked(parent));
  if (!S_ISDIR(found->record.type)) return Status::Errno(ENOTDIR);
  const InodeNumber inode = found->record.inode;
  ASSIGN_OR_RETURN(const bool empty, d_.clones.IsEmpty(inode));
  if (!empty) return Status::Errno(ENOTEMPTY);
  ASSIGN_OR_RETURN(InodeRecord record, d_.tree.Inode(inode));
  Batch batch;
  std::vector<StageId> dropped;
  RETURN_IF_ERROR(d_.clones.RemoveName(parent, found->slot, &batch));
  RETURN_IF_ERROR(LoseNameLocked(parent, *found, &record, &batch, &dropped));
  directory.modify_time = directory.change_time = record.change_time;
  --directory.links;
  Tree::PutInode(parent, directory, &batch);
  RETURN_IF_ERROR(d_.tree.Apply(batch));
  UnlinkedLocked(inode, record, dropped);
  return Status();
}

}  // namespace varve
