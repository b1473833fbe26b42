// Making clones: `setfattr -n user.varve.clone_of -v A B`.

#include "fs/core/live_nodes.h"
#include "store/base/log.h"

namespace varve {

Status LiveNodes::MakeClone(const Caller& caller, InodeNumber directory, std::string_view path) {
  InodeNumber parent = 0;
  {
    MutexLock lock(d_.tree.mutex());
    RETURN_IF_ERROR(RequireMayBecomeCloneLocked(directory));
    ASSIGN_OR_RETURN(const InodeRecord record, d_.tree.Inode(directory));
    parent = record.parent;
  }
  PathWalk walk(d_.nodes, d_.mount_point);
  ASSIGN_OR_RETURN(const PathWalk::Found found, walk.Run(caller, parent, path));
  if (!S_ISDIR(found.stat.st_mode)) return Status::Errno(ENOTDIR);
  // What is in it keeps its owners, so who makes the clone has to be as good as they.
  if (caller.uid != 0 && caller.uid != found.stat.st_uid) return Status::Errno(EPERM);
  if (found.node == directory) return Status::Errno(EINVAL);
  switch (KindOf(found.node)) {
    case NodeKind::kLive: {
      const std::string name = PathInMount(d_.tree.PathOf(found.node));
      return capture_->CaptureAnd(found.node, [&](Moment moment) {
        return CloneLocked(directory, {{found.node, moment}, {}, d_.tree.Now(), name});
      });
    }
    case NodeKind::kFrozen: {
      ASSIGN_OR_RETURN(const FrozenNodes::Place place, frozen_->PlaceOf(found.node));
      MutexLock lock(d_.tree.mutex());
      RETURN_IF_ERROR(frozen_->RequireKeptLocked(place.root));
      return CloneLocked(directory, {place.inode, {}, d_.tree.Now(), PathInMount(place.path)});
    }
    case NodeKind::kVirtual:
      break;
  }
  return Status::Errno(EINVAL);
}

std::string LiveNodes::PathInMount(std::string path) {
  path.erase(0, path.find_first_not_of('/'));
  return path.empty() ? "." : path;
}

Status LiveNodes::RequireMayBecomeCloneLocked(InodeNumber directory) {
  RETURN_IF_ERROR(Writable());
  ASSIGN_OR_RETURN(const InodeRecord record, ParentLocked(directory));
  RETURN_IF_ERROR(RequireOpenDirectoryLocked(directory));
  ASSIGN_OR_RETURN(const std::optional<CloneRecord> clone, d_.clones.Of(directory));
  if (clone) return Status::Errno(EEXIST);
  ASSIGN_OR_RETURN(const bool empty, d_.clones.IsEmpty(directory));
  return empty ? Status() : Status::Errno(ENOTEMPTY);
}

Status LiveNodes::CloneLocked(InodeNumber directory, const CloneRecord& clone) {
  RETURN_IF_ERROR(RequireMayBecomeCloneLocked(directory));
  const PastTree past(d_.tree, clone.original.moment);
  const InodeNumber inode = clone.original.inode;
  const Result<InodeRecord> original = past.Inode(inode);
  if (!original.ok()) return Status::Errno(ENOENT);
  ASSIGN_OR_RETURN(InodeRecord record, d_.tree.Inode(directory));
  Batch batch;
  RETURN_IF_ERROR(d_.clones.Append(directory, clone, &batch));
  ASSIGN_OR_RETURN(const std::vector<std::string> xattrs, past.XattrNames(inode));
  for (const std::string& name : xattrs) {
    ASSIGN_OR_RETURN(std::optional<std::string> value, past.Xattr(inode, name));
    ASSIGN_OR_RETURN(const std::optional<std::string> present,
                     d_.tree.catalog().Get(key::Xattr(directory, name)));
    if (value && !present) batch.Put(key::Xattr(directory, name), *std::move(value));
  }
  record.links = original->links;
  record.modify_time = record.change_time = d_.tree.Now();
  Tree::PutInode(directory, record, &batch);
  RETURN_IF_ERROR(d_.tree.dirty().Append(directory, &batch));
  RETURN_IF_ERROR(d_.tree.Apply(batch));
  const Status captured = capture_->CaptureLocked({directory}, CaptureReason::kCloned);
  // The clone is made; the directory is captured when it is quiet.
  if (!captured.ok()) LogWarning("not captured when it was cloned: {}", captured.ToString());
  return Status();
}

}  // namespace varve
