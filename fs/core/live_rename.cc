// Renaming: replace, exchange, and what becomes of history.

#include <fcntl.h>
#include <stdio.h>

#include "fs/core/live_nodes.h"
#include "store/base/log.h"

namespace varve {

// One side of a rename: a name in a directory and what it stands for.
struct LiveNodes::Side {
  LinkName name;
  InodeRecord parent;
  std::optional<NamedEntry> entry;  // nothing: the name is free
  InodeNumber inode = 0;
  InodeRecord record;

  bool directory() const { return S_ISDIR(record.mode); }
};

Result<LiveNodes::Side> LiveNodes::SideLocked(InodeNumber parent, std::string_view name) {
  Side side;
  side.name = {parent, std::string(name)};
  ASSIGN_OR_RETURN(side.parent, ParentLocked(parent));
  ASSIGN_OR_RETURN(side.entry, d_.clones.Find(parent, name));
  if (!side.entry) return side;
  side.inode = side.entry->record.inode;
  ASSIGN_OR_RETURN(side.record, d_.tree.Inode(side.inode));
  return side;
}

Status LiveNodes::Rename(const Caller&, NodeId parent, std::string_view name,
                         const RenameTarget& target) {
  if ((target.flags & ~static_cast<unsigned>(RENAME_NOREPLACE | RENAME_EXCHANGE)) != 0)
    return Status::Errno(EINVAL);
  const bool exchange = (target.flags & RENAME_EXCHANGE) != 0;
  if (target.name.size() > kNameBytesMax) return Status::Errno(ENAMETOOLONG);
  if (target.name == ".varve") return Status::Errno(EEXIST);
  if (name == ".varve") return Status::Errno(EBUSY);
  MutexLock lock(d_.tree.mutex());
  RETURN_IF_ERROR(Writable());
  ASSIGN_OR_RETURN(Side from, SideLocked(parent, name));
  if (!from.entry) return Status::Errno(ENOENT);
  ASSIGN_OR_RETURN(Side to, SideLocked(target.parent, target.name));
  if (to.entry && (target.flags & RENAME_NOREPLACE) != 0) return Status::Errno(EEXIST);
  if (!to.entry && exchange) return Status::Errno(ENOENT);
  if (to.entry && to.inode == from.inode) return Status();
  RETURN_IF_ERROR(RequireOpenDirectoryLocked(parent));
  RETURN_IF_ERROR(RequireOpenDirectoryLocked(target.parent));
  if (from.directory()) {
    ASSIGN_OR_RETURN(const bool below, d_.tree.IsBelow(target.parent, from.inode));
    if (below) return Status::Errno(EINVAL);
  }
  if (exchange && to.directory()) {
    ASSIGN_OR_RETURN(const bool below, d_.tree.IsBelow(parent, to.inode));
    if (below) return Status::Errno(EINVAL);
  }
  Batch batch;
  std::vector<StageId> dropped;
  RETURN_IF_ERROR(exchange ? ExchangeLocked(&from, &to, &batch)
                           : ReplaceLocked(&from, &to, &batch, &dropped));
  RETURN_IF_ERROR(d_.tree.Apply(batch));
  if (to.entry && !exchange) UnlinkedLocked(to.inode, to.record, dropped);
  CaptureRenamedLocked(from, to, exchange);
  return Status();
}

void LiveNodes::CaptureRenamedLocked(const Side& from, const Side& to, bool exchange) {
  std::vector<InodeNumber> directories;
  if (from.directory()) directories.push_back(from.inode);
  if (exchange && to.directory()) directories.push_back(to.inode);
  if (directories.empty()) return;
  const Status captured = capture_->CaptureLocked(directories, CaptureReason::kRenamed);
  // The rename has happened; the directory is captured when it is quiet.
  if (!captured.ok()) LogWarning("not captured at its rename: {}", captured.ToString());
}

Status LiveNodes::ReplaceLocked(Side* from, Side* to, Batch* batch, std::vector<StageId>* dropped) {
  const bool one_directory = from->name.parent == to->name.parent;
  InodeRecord& from_parent = from->parent;
  InodeRecord& to_parent = one_directory ? from->parent : to->parent;
  uint64_t slot = 0;
  if (to->entry) {
    if (to->directory()) {
      if (!from->directory()) return Status::Errno(EISDIR);
      ASSIGN_OR_RETURN(const bool empty, d_.clones.IsEmpty(to->inode));
      if (!empty) return Status::Errno(ENOTEMPTY);
      --to_parent.links;
    } else if (from->directory()) {
      return Status::Errno(ENOTDIR);
    }
    slot = to->entry->slot;  // overwritten below, so the name never is not there
    RETURN_IF_ERROR(LoseNameLocked(to->name.parent, *to->entry, &to->record, batch, dropped));
  } else {
    ASSIGN_OR_RETURN(slot, d_.clones.SlotForNew(to->name.parent, to->name.name));
  }
  const struct timespec now = d_.tree.Now();
  RETURN_IF_ERROR(d_.clones.RemoveName(from->name.parent, from->entry->slot, batch));
  Tree::PutName(to->name.parent, slot, {from->inode, from->record.mode & S_IFMT, to->name.name},
                batch);
  RETURN_IF_ERROR(MoveHistoryLocked(*from, *to, batch));
  if (from->record.links > 1 && !from->directory()) {
    batch->Delete(key::Link(from->inode, from->name.parent, from->name.name));
    batch->Put(key::Link(from->inode, to->name.parent, to->name.name), "");
  }
  if (from->directory()) {
    RETURN_IF_ERROR(d_.history.MoveDirectory(
        {from->name, to->name, from->inode, to->entry ? to->record.history : 0}, &from->record,
        batch));
  }
  from->record.parent = to->name.parent;
  from->record.name = to->name.name;
  from->record.change_time = now;
  Tree::PutInode(from->inode, from->record, batch);
  if (from->directory() && !one_directory) {
    --from_parent.links;
    ++to_parent.links;
  }
  from_parent.modify_time = from_parent.change_time = now;
  Tree::PutInode(from->name.parent, from_parent, batch);
  if (one_directory) return Status();
  to_parent.modify_time = to_parent.change_time = now;
  Tree::PutInode(to->name.parent, to_parent, batch);
  return Status();
}

Status LiveNodes::MoveHistoryLocked(const Side& from, const Side& to, Batch* batch) {
  if (!S_ISREG(from.record.mode) || from.record.content == 0) return Status();
  ASSIGN_OR_RETURN(const ContentRecord content, d_.tree.Content(from.record.content));
  if (!content.captured) return Status();  // its close will say it under its new name
  ASSIGN_OR_RETURN(const bool temporary,
                   d_.history.ForgetTemporary(from.name, from.record.content, batch));
  if (!temporary) {
    RETURN_IF_ERROR(d_.files.AppendSharedLocked(from.record.content, batch));
  } else if (to.entry && S_ISREG(to.record.mode) && content.inode == from.inode) {
    RETURN_IF_ERROR(d_.files.AppendReplacingLocked(from.record.content, to.record.content, batch));
  }
  InodeRecord record = from.record;
  if (const std::shared_ptr<OpenFile> file = d_.files.FindLocked(from.inode))
    RETURN_IF_ERROR(d_.files.RefreshLocked(*file, &record));
  return d_.history.CaptureUnder(to.name, from.inode, record, from.record.content, batch);
}

Status LiveNodes::ExchangeLocked(Side* from, Side* to, Batch* batch) {
  const bool one_directory = from->name.parent == to->name.parent;
  const struct timespec now = d_.tree.Now();
  Tree::PutName(to->name.parent, to->entry->slot,
                {from->inode, from->record.mode & S_IFMT, to->name.name}, batch);
  Tree::PutName(from->name.parent, from->entry->slot,
                {to->inode, to->record.mode & S_IFMT, from->name.name}, batch);
  const auto move = [&](Side* side, const LinkName& name) -> Status {
    if (S_ISREG(side->record.mode) && side->record.content != 0) {
      ASSIGN_OR_RETURN(const ContentRecord content, d_.tree.Content(side->record.content));
      if (content.captured) {
        RETURN_IF_ERROR(d_.files.AppendSharedLocked(side->record.content, batch));
        RETURN_IF_ERROR(
            d_.history.CaptureUnder(name, side->inode, side->record, side->record.content, batch));
      }
    }
    if (side->record.links > 1 && !side->directory()) {
      batch->Delete(key::Link(side->inode, side->name.parent, side->name.name));
      batch->Put(key::Link(side->inode, name.parent, name.name), "");
    }
    side->record.parent = name.parent;
    side->record.name = name.name;
    side->record.change_time = now;
    Tree::PutInode(side->inode, side->record, batch);
    return Status();
  };
  RETURN_IF_ERROR(move(from, to->name));
  RETURN_IF_ERROR(move(to, from->name));
  InodeRecord& to_parent = one_directory ? from->parent : to->parent;
  if (!one_directory && from->directory() != to->directory()) {
    InodeRecord& gains = from->directory() ? to_parent : from->parent;
    InodeRecord& loses = from->directory() ? from->parent : to_parent;
    ++gains.links;
    --loses.links;
  }
  from->parent.modify_time = from->parent.change_time = now;
  Tree::PutInode(from->name.parent, from->parent, batch);
  if (one_directory) return Status();
  to_parent.modify_time = to_parent.change_time = now;
  Tree::PutInode(to->name.parent, to_parent, batch);
  return Status();
}

}  // namespace varve
