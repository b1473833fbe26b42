// New names in the live tree, and looking them up.

#include <fcntl.h>

#include "fs/core/live_nodes.h"

namespace varve {
namespace {

// Nobody else changes the tree, so the kernel may believe an answer for long.
constexpr int64_t kEntryValidNs = int64_t{86'400} * 1'000'000'000;

}  // namespace

void LiveNodes::LookedUp(InodeNumber inode) { ++lookups_[inode]; }

Entry LiveNodes::EntryOfLocked(InodeNumber inode, const InodeRecord& record) {
  Entry entry;
  entry.node = inode;
  entry.entry_valid_ns = kEntryValidNs;
  Result<Attributes> attributes = AttributesLocked(inode, record);
  if (attributes.ok()) entry.attributes = *attributes;
  LookedUp(inode);
  return entry;
}

Result<Entry> LiveNodes::Lookup(const Caller& caller, NodeId parent, std::string_view name) {
  if (name == ".varve") return virtual_->EnterDirectory(caller, parent);
  if (name.size() > kNameBytesMax) return Status::Errno(ENAMETOOLONG);
  MutexLock lock(d_.tree.mutex());
  if (name == "." || name == "..") {
    ASSIGN_OR_RETURN(InodeRecord record, d_.tree.Inode(parent));
    const InodeNumber inode = name == "." ? parent : record.parent;
    if (inode != parent) {
      ASSIGN_OR_RETURN(record, d_.tree.Inode(inode));
    }
    return EntryOfLocked(inode, record);
  }
  ASSIGN_OR_RETURN(const std::optional<NamedEntry> found, d_.clones.Find(parent, name));
  if (!found) {
    Entry nothing;
    // An empty directory may become a clone, and then has it all at once.
    ASSIGN_OR_RETURN(const bool empty, d_.clones.IsEmpty(parent));
    nothing.entry_valid_ns = empty ? 0 : kEntryValidNs;
    return nothing;
  }
  ASSIGN_OR_RETURN(const InodeRecord record, d_.tree.Inode(found->record.inode));
  return EntryOfLocked(found->record.inode, record);
}

void LiveNodes::Forget(NodeId node, uint64_t lookups) {
  MutexLock lock(d_.tree.mutex());
  const auto it = lookups_.find(node);
  if (it == lookups_.end()) return;
  if (it->second > lookups) {
    it->second -= static_cast<uint32_t>(lookups);
    return;
  }
  lookups_.erase(it);
  RemoveIfForgottenLocked(node);
}

Result<InodeRecord> LiveNodes::ParentLocked(InodeNumber parent) {
  ASSIGN_OR_RETURN(InodeRecord record, d_.tree.Inode(parent));
  if (!S_ISDIR(record.mode)) return Status::Errno(ENOTDIR);
  if (record.links == 0) return Status::Errno(ENOENT);
  return record;
}

Result<LiveNodes::NewNode> LiveNodes::PrepareLocked(const Caller& caller, InodeNumber parent,
                                                    std::string_view name, mode_t mode) {
  RETURN_IF_ERROR(Writable());
  NewNode node;
  ASSIGN_OR_RETURN(node.parent, ParentLocked(parent));
  RETURN_IF_ERROR(RequireOpenDirectoryLocked(parent));
  if (!name.empty()) {
    ASSIGN_OR_RETURN(node.slot, d_.clones.SlotForNew(parent, name));
  }
  ASSIGN_OR_RETURN(node.inode, d_.tree.NewId());
  InodeRecord& record = node.record;
  record.mode = mode;
  record.uid = caller.uid;
  record.gid = caller.gid;
  record.links = 1;
  record.parent = parent;
  record.name = name;
  if ((node.parent.mode & S_ISGID) != 0) {
    record.gid = node.parent.gid;
    if (S_ISDIR(mode)) record.mode |= S_ISGID;
  }
  const struct timespec now = d_.tree.Now();
  record.access_time = record.modify_time = record.change_time = record.birth_time = now;
  node.parent.modify_time = node.parent.change_time = now;
  return node;
}

Status LiveNodes::AppendNew(InodeNumber parent, const NewNode& node, Batch* batch) {
  Tree::PutInode(node.inode, node.record, batch);
  Tree::PutInode(parent, node.parent, batch);
  Tree::PutName(parent, node.slot, {node.inode, node.record.mode & S_IFMT, node.record.name},
                batch);
  return Status();
}

Result<Entry> LiveNodes::MakeNode(const Caller& caller, NodeId parent, std::string_view name,
                                  mode_t mode, dev_t device) {
  MutexLock lock(d_.tree.mutex());
  if ((mode & S_IFMT) == 0) mode |= S_IFREG;
  ASSIGN_OR_RETURN(NewNode node, PrepareLocked(caller, parent, name, mode));
  node.record.device = device;
  Batch batch;
  RETURN_IF_ERROR(AppendNew(parent, node, &batch));
  RETURN_IF_ERROR(d_.tree.Apply(batch));
  return EntryOfLocked(node.inode, node.record);
}

Result<Entry> LiveNodes::MakeDirectory(const Caller& caller, NodeId parent, std::string_view name,
                                       mode_t mode) {
  MutexLock lock(d_.tree.mutex());
  ASSIGN_OR_RETURN(NewNode node, PrepareLocked(caller, parent, name, mode | S_IFDIR));
  node.record.links = 2;
  ++node.parent.links;
  Batch batch;
  ASSIGN_OR_RETURN(node.record.history,
                   d_.history.AdoptDirectory({parent, std::string(name)}, &batch));
  if (node.record.history == 0) node.record.history = node.inode;
  RETURN_IF_ERROR(AppendNew(parent, node, &batch));
  RETURN_IF_ERROR(d_.tree.Apply(batch));
  return EntryOfLocked(node.inode, node.record);
}

Result<Entry> LiveNodes::MakeSymlink(const Caller& caller, NodeId parent, std::string_view name,
                                     std::string_view target) {
  MutexLock lock(d_.tree.mutex());
  ASSIGN_OR_RETURN(NewNode node, PrepareLocked(caller, parent, name, S_IFLNK | 0777));
  node.record.size_bytes = target.size();
  Batch batch;
  RETURN_IF_ERROR(AppendNew(parent, node, &batch));
  batch.Put(key::Symlink(node.inode), std::string(target));
  RETURN_IF_ERROR(d_.tree.Apply(batch));
  return EntryOfLocked(node.inode, node.record);
}

Result<Created> LiveNodes::Create(const Caller& caller, NodeId parent, std::string_view name,
                                  mode_t mode, int flags) {
  MutexLock lock(d_.tree.mutex());
  ASSIGN_OR_RETURN(NewNode node, PrepareLocked(caller, parent, name,
                                               (mode & ~static_cast<mode_t>(S_IFMT)) | S_IFREG));
  Batch batch;
  ASSIGN_OR_RETURN(LiveFiles::Fresh fresh, d_.files.NewContent(node.inode, 0, &batch));
  node.record.content = fresh.content;
  RETURN_IF_ERROR(AppendNew(parent, node, &batch));
  RETURN_IF_ERROR(d_.tree.Apply(batch));
  const std::shared_ptr<OpenFile> file = d_.files.AdoptLocked(node.inode, std::move(fresh));
  Created created;
  Result<Opened> opened = d_.files.OpenLocked(file, node.record, {flags, caller.pid});
  if (opened.ok()) {
    created.opened = *opened;
    created.entry = EntryOfLocked(node.inode, node.record);
  }
  d_.files.DoneLocked(file);
  RETURN_IF_ERROR(opened.status());
  return created;
}

Result<Created> LiveNodes::CreateUnnamed(const Caller& caller, NodeId parent, mode_t mode,
                                         int flags) {
  MutexLock lock(d_.tree.mutex());
  ASSIGN_OR_RETURN(NewNode node, PrepareLocked(caller, parent, "",
                                               (mode & ~static_cast<mode_t>(S_IFMT)) | S_IFREG));
  node.record.links = 0;
  Batch batch;
  ASSIGN_OR_RETURN(LiveFiles::Fresh fresh, d_.files.NewContent(node.inode, 0, &batch));
  node.record.content = fresh.content;
  Tree::PutInode(node.inode, node.record, &batch);
  batch.Put(key::Orphan(node.inode), "");
  RETURN_IF_ERROR(d_.tree.Apply(batch));
  orphans_[node.inode] = true;
  const std::shared_ptr<OpenFile> file = d_.files.AdoptLocked(node.inode, std::move(fresh));
  Created created;
  Result<Opened> opened = d_.files.OpenLocked(file, node.record, {flags, caller.pid});
  if (opened.ok()) {
    created.opened = *opened;
    created.entry = EntryOfLocked(node.inode, node.record);
  }
  d_.files.DoneLocked(file);
  RETURN_IF_ERROR(opened.status());
  return created;
}

Result<InodeRecord> LiveNodes::Inode(InodeNumber inode) {
  MutexLock lock(d_.tree.mutex());
  ASSIGN_OR_RETURN(InodeRecord record, d_.tree.Inode(inode));
  if (const std::shared_ptr<OpenFile> file = d_.files.FindLocked(inode))
    RETURN_IF_ERROR(d_.files.RefreshLocked(*file, &record));
  return record;
}

Result<InodeNumber> LiveNodes::Child(InodeNumber directory, std::string_view name) {
  MutexLock lock(d_.tree.mutex());
  ASSIGN_OR_RETURN(const std::optional<NamedEntry> found, d_.clones.Find(directory, name));
  if (!found) return Status::Errno(ENOENT);
  return found->record.inode;
}

Result<std::vector<NamedEntry>> LiveNodes::Names(InodeNumber directory, uint64_t after_slot,
                                                 size_t limit) {
  MutexLock lock(d_.tree.mutex());
  return d_.clones.List(directory, after_slot, limit);
}

Status LiveNodes::LookUpAll(InodeNumber directory) {
  constexpr size_t kAtOnce = 256;  // so long others wait
  for (uint64_t after_slot = 0;;) {
    MutexLock lock(d_.tree.mutex());
    ASSIGN_OR_RETURN(const std::optional<CloneRecord> clone, d_.clones.Of(directory));
    if (!clone) return Status();
    ASSIGN_OR_RETURN(const std::vector<NamedEntry> entries,
                     d_.clones.List(directory, after_slot, kAtOnce));
    if (entries.empty()) return Status();
    after_slot = entries.back().slot;
  }
}

void LiveNodes::Fence(const std::string& reason) {
  MutexLock lock(fence_mutex_);
  if (fenced_) return;
  fence_reason_ = reason;
  fenced_ = true;
}

std::string LiveNodes::fence_reason() {
  MutexLock lock(fence_mutex_);
  if (fence_reason_.empty() && fenced()) return "the log could not be written";
  return fence_reason_;
}

Status LiveNodes::Writable() { return fenced() ? Status::Errno(EROFS) : Status(); }

Status LiveNodes::Syncable() { return fenced() ? Status::Errno(EIO, fence_reason()) : Status(); }

}  // namespace varve
