// Sealing a directory: `setfattr -n user.varve.seal -v 1 D`, and what that forbids.

#include "fs/core/live_nodes.h"

namespace varve {

Status LiveNodes::RequireChangeableLocked(InodeNumber inode) {
  ASSIGN_OR_RETURN(const bool sealed, seals_.IsSealed(inode));
  return sealed ? Status::Errno(EPERM) : Status();
}

Status LiveNodes::RequireOpenDirectoryLocked(InodeNumber directory) {
  ASSIGN_OR_RETURN(const bool sealed, seals_.IsSealedDirectory(directory));
  return sealed ? Status::Errno(EPERM) : Status();
}

Status LiveNodes::Seal(const Caller& caller, InodeNumber directory, ByteView value) {
  if (AsText(value) != "1") return Status::Errno(EINVAL);
  MutexLock lock(d_.tree.mutex());
  RETURN_IF_ERROR(Writable());
  ASSIGN_OR_RETURN(const InodeRecord record, d_.tree.Inode(directory));
  if (!S_ISDIR(record.mode)) return Status::Errno(ENOTDIR);
  if (caller.uid != 0 && caller.uid != record.uid) return Status::Errno(EPERM);
  // Whoever writes now could not be held back.
  for (const std::shared_ptr<OpenFile>& file : d_.files.AllLocked()) {
    if (file->writers == 0) continue;
    const Result<InodeRecord> open = d_.tree.Inode(file->inode);
    if (!open.ok()) continue;
    ASSIGN_OR_RETURN(const std::vector<LinkName> names, d_.tree.Names(file->inode, *open));
    for (const LinkName& name : names) {
      ASSIGN_OR_RETURN(const bool below, d_.tree.IsBelow(name.parent, directory));
      if (below) return Status::Errno(EBUSY);
    }
  }
  return seals_.Set(directory);
}

Status LiveNodes::Unseal(const Caller& caller, InodeNumber directory) {
  MutexLock lock(d_.tree.mutex());
  RETURN_IF_ERROR(Writable());
  ASSIGN_OR_RETURN(const InodeRecord record, d_.tree.Inode(directory));
  if (!seals_.Has(directory)) return Status::Errno(ENODATA);
  if (caller.uid != 0 && caller.uid != record.uid) return Status::Errno(EPERM);
  return seals_.Remove(directory);
}

}  // namespace varve
