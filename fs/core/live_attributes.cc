// Attributes of live nodes.

#include <fcntl.h>

#include <algorithm>

#include "fs/core/inode_stat.h"
#include "fs/core/live_nodes.h"
#include "store/base/log.h"

namespace varve {
namespace {

constexpr int64_t kAttributesValidNs = int64_t{86'400} * 1'000'000'000;
constexpr uint64_t kFileBytesMax = (uint64_t{1} << 44) - 4096;  // 16 TiB less one block
constexpr mode_t kPermissionBits = 07777;
constexpr mode_t kWriteBits = 0222;

}  // namespace

Result<Attributes> LiveNodes::AttributesLocked(InodeNumber inode, InodeRecord record) {
  Attributes attributes;
  attributes.valid_ns = kAttributesValidNs;
  if (S_ISREG(record.mode)) {
    if (const std::shared_ptr<OpenFile> file = d_.files.FindLocked(inode)) {
      RETURN_IF_ERROR(d_.files.RefreshLocked(*file, &record));
      // A store through a mapping changes it without telling anybody.
      if (file->mode == IoMode::kPassthrough && file->content != 0 && !file->record.stored)
        attributes.valid_ns = 0;
    }
  }
  attributes.stat = StatOf(inode, record);
  return attributes;
}

Result<Attributes> LiveNodes::GetAttributes(NodeId node, std::optional<HandleId>) {
  MutexLock lock(d_.tree.mutex());
  ASSIGN_OR_RETURN(InodeRecord record, d_.tree.Inode(node));
  return AttributesLocked(node, std::move(record));
}

Status LiveNodes::AppendClearPrivilegesLocked(OpenFile* file, InodeNumber inode,
                                              InodeRecord* record, bool* changed, Batch* batch) {
  if (!S_ISREG(record->mode)) return Status();
  mode_t mode = record->mode & ~static_cast<mode_t>(S_ISUID);
  if ((mode & S_IXGRP) != 0) mode &= ~static_cast<mode_t>(S_ISGID);
  if (mode != record->mode) {
    record->mode = mode;
    *changed = true;
  }
  const std::string capability = key::Xattr(inode, "security.capability");
  ASSIGN_OR_RETURN(const std::optional<std::string> row, d_.tree.catalog().Get(capability));
  if (!row) return Status();
  batch->Delete(capability);
  if (file != nullptr) file->capability = false;
  *changed = true;
  return Status();
}

Result<Attributes> LiveNodes::SetAttributes(const Caller& caller, NodeId node,
                                            const AttributeChange& change,
                                            std::optional<HandleId> handle) {
  MutexLock lock(d_.tree.mutex());
  RETURN_IF_ERROR(Writable());
  ASSIGN_OR_RETURN(InodeRecord record, d_.tree.Inode(node));
  RETURN_IF_ERROR(RequireChangeableLocked(node));
  if (change.size_bytes) {
    if (S_ISDIR(record.mode)) return Status::Errno(EISDIR);
    if (!S_ISREG(record.mode)) return Status::Errno(EINVAL);
    if (*change.size_bytes > kFileBytesMax) return Status::Errno(EFBIG);
  }
  if (!S_ISREG(record.mode) || !(change.size_bytes || change.sets_access() || change.sets_modify()))
    return ChangeLocked(caller, node, change, d_.files.FindLocked(node).get(), std::move(record));
  ASSIGN_OR_RETURN(const std::shared_ptr<OpenFile> file, d_.files.UseLocked(node, &record));
  Result<Attributes> changed = [&]() -> Result<Attributes> {
    if (change.size_bytes) {
      RETURN_IF_ERROR(
          ResizeLocked(*file, &record, *change.size_bytes, handle ? FileOf(*handle) : nullptr));
    }
    return ChangeLocked(caller, node, change, file.get(), std::move(record));
  }();
  d_.files.DoneLocked(file);
  return changed;
}

// All but the size. Waits for nothing, so the record stays true. `file` may be null.
Result<Attributes> LiveNodes::ChangeLocked(const Caller& caller, InodeNumber inode,
                                           const AttributeChange& change, OpenFile* file,
                                           InodeRecord record) {
  Batch batch;
  bool changed = false;
  const struct timespec now = d_.tree.Now();
  bool closed = false;
  if (change.mode) {
    closed =
        S_ISDIR(record.mode) && (record.mode & kWriteBits) != 0 && (*change.mode & kWriteBits) == 0;
    record.mode = (record.mode & S_IFMT) | (*change.mode & kPermissionBits);
    if (file && file->mode == IoMode::kPassthrough && file->writers > 0 &&
        (record.mode & (S_ISUID | S_ISGID)) != 0) {
      // Its writes bypass us; LiveFiles::RefreshLocked sees them later by this.
      if (const std::shared_ptr<Body> body = file->body(); body && body->stage()) {
        ASSIGN_OR_RETURN(const struct stat stat, body->stage()->Stat());
        file->privileged = Stamp::Of(stat);
      }
    }
    changed = true;
  }
  if (change.uid || change.gid) {
    if (change.uid) record.uid = *change.uid;
    if (change.gid) record.gid = *change.gid;
    RETURN_IF_ERROR(AppendClearPrivilegesLocked(file, inode, &record, &changed, &batch));
    changed = true;
  } else if (change.clear_set_id || (change.size_bytes && caller.uid != 0)) {
    RETURN_IF_ERROR(AppendClearPrivilegesLocked(file, inode, &record, &changed, &batch));
  }
  if (change.sets_access()) record.access_time = change.access_now ? now : *change.access_time;
  if (change.sets_modify()) record.modify_time = change.modify_now ? now : *change.modify_time;
  if (change.sets_access() || change.sets_modify()) {
    if (S_ISREG(record.mode)) {
      RETURN_IF_ERROR(
          d_.files.SetTimesLocked(*file, record, change.sets_access(), change.sets_modify()));
    }
    changed = true;
  }
  if (change.change_time) {
    record.change_time = *change.change_time;
  } else if (changed) {
    record.change_time = d_.tree.Now();  // later than that of the staging file
  }
  if (changed || change.change_time) {
    Tree::PutInode(inode, record, &batch);
    RETURN_IF_ERROR(d_.tree.Apply(batch));
  }
  // Made read-only, a directory is what it shall stay. The change has happened, whatever
  // comes of the capture; without it, the directory is captured when it is quiet.
  if (closed) {
    const Status captured = capture_->CaptureLocked({inode}, CaptureReason::kReadOnly);
    if (!captured.ok()) LogWarning("not captured as read-only: {}", captured.ToString());
  }
  return AttributesLocked(inode, std::move(record));
}

// ftruncate through `handle`, or truncate by path.
Status LiveNodes::ResizeLocked(OpenFile& file, InodeRecord* record, uint64_t size,
                               FileHandle* handle) {
  if (size == 0 && file.content == 0) return Status();
  if (size == 0) {
    RETURN_IF_ERROR(d_.files.RewriteLocked(file, record));
  } else {
    RETURN_IF_ERROR(d_.files.ReadyToWriteLocked(file, record));
    RETURN_IF_ERROR(file.body()->Truncate(size));
  }
  // Through a handle, the close captures it.
  if (handle == nullptr || !handle->writable) {
    RETURN_IF_ERROR(d_.files.CaptureLocked(file, record));
    d_.files.EndUncapturedLocked(file);  // it has this size already
    ASSIGN_OR_RETURN(*record, d_.tree.Inode(file.inode));
    return Status();
  }
  return d_.files.RefreshLocked(file, record);
}

Result<std::string> LiveNodes::ReadLink(NodeId node) {
  ASSIGN_OR_RETURN(std::optional<std::string> target, d_.tree.catalog().Get(key::Symlink(node)));
  if (!target) return Status::Errno(EINVAL);
  return *std::move(target);
}

Result<struct statvfs> LiveNodes::StatFilesystem() {
  ASSIGN_OR_RETURN(struct statvfs space, d_.disk.Space());
  space.f_namemax = kNameBytesMax;
  // Inodes are rows of the index: as many as there is room for.
  space.f_files = std::max<fsfilcnt_t>(space.f_blocks, 1'000'000);
  space.f_ffree = space.f_favail = std::max<fsfilcnt_t>(space.f_bavail, 1);
  return space;
}

}  // namespace varve
