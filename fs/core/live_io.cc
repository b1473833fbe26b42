// Moving bytes of live files: open, read, write, close, fsync.

#include <fcntl.h>

#include <algorithm>

#include "fs/core/live_nodes.h"
#include "store/base/log.h"

namespace varve {
namespace {

constexpr uint64_t kFileBytesMax = (uint64_t{1} << 44) - 4096;
constexpr size_t kCopyStep = 1 << 20;

}  // namespace

Result<Opened> LiveNodes::Open(const Caller& caller, NodeId node, int flags) {
  MutexLock lock(d_.tree.mutex());
  ASSIGN_OR_RETURN(InodeRecord record, d_.tree.Inode(node));
  const bool writable = (flags & O_ACCMODE) != O_RDONLY;
  const bool truncate = (flags & O_TRUNC) != 0;
  if (writable || truncate) RETURN_IF_ERROR(Writable());
  ASSIGN_OR_RETURN(const std::shared_ptr<OpenFile> file, d_.files.UseLocked(node, &record));
  Result<Opened> opened = [&]() -> Result<Opened> {
    if (writable || truncate) RETURN_IF_ERROR(RequireChangeableLocked(node));
    if (truncate) {
      if (file->content != 0 || writable) {
        RETURN_IF_ERROR(d_.files.RewriteLocked(*file, &record));
        // No close of a writer will do it.
        if (!writable) RETURN_IF_ERROR(d_.files.CaptureLocked(*file, &record));
      }
      Batch batch;
      bool changed = false;
      if (caller.uid != 0)
        RETURN_IF_ERROR(AppendClearPrivilegesLocked(file.get(), node, &record, &changed, &batch));
      if (changed) {
        Tree::PutInode(node, record, &batch);
        RETURN_IF_ERROR(d_.tree.Apply(batch));
      }
    }
    if (!writable) {
      RETURN_IF_ERROR(d_.files.ReadyToReadLocked(*file, record));
    } else if (!truncate) {
      RETURN_IF_ERROR(d_.files.ReadyToWriteLocked(*file, &record));
    }
    return d_.files.OpenLocked(file, record, {flags, caller.pid});
  }();
  d_.files.DoneLocked(file);
  return opened;
}

Result<ReadReply> LiveNodes::Read(NodeId, HandleId handle, uint64_t offset, size_t size) {
  const std::shared_ptr<Body> body = FileOf(handle)->file->body();
  if (!body) return Status::Errno(EIO);
  return body->Read(offset, size);
}

Status LiveNodes::Write(NodeId node, HandleId handle, uint64_t offset, ByteView bytes,
                        bool clear_set_id) {
  FileHandle* const open = FileOf(handle);
  if (fenced()) return Status::Errno(EROFS);
  OpenFile& file = *open->file;
  if (offset + bytes.size() > kFileBytesMax && (open->request.flags & O_APPEND) == 0)
    return Status::Errno(EFBIG);
  RETURN_IF_ERROR(ClearPrivileges(node, file, clear_set_id));
  const std::shared_ptr<Body> body = file.body();
  if (!body) return Status::Errno(EIO);
  return (open->request.flags & O_APPEND) != 0 ? body->Append(bytes) : body->Write(offset, bytes);
}

Status LiveNodes::ClearPrivileges(InodeNumber inode, OpenFile& file, bool clear_set_id) {
  if (!clear_set_id && !file.capability) return Status();
  MutexLock lock(d_.tree.mutex());
  ASSIGN_OR_RETURN(InodeRecord record, d_.tree.Inode(inode));
  const mode_t mode = record.mode;
  Batch batch;
  bool changed = false;
  RETURN_IF_ERROR(AppendClearPrivilegesLocked(&file, inode, &record, &changed, &batch));
  if (!clear_set_id) record.mode = mode;
  if (!changed) return Status();
  Tree::PutInode(inode, record, &batch);
  return d_.tree.Apply(batch);
}

Status LiveNodes::Flush(NodeId, HandleId handle) {
  FileHandle* const open = FileOf(handle);
  if (!open->writable) return Status();
  MutexLock lock(d_.tree.mutex());
  return d_.files.FlushLocked(*open);
}

void LiveNodes::Release(NodeId node, HandleId handle) {
  const std::unique_ptr<FileHandle> open(FileOf(handle));
  MutexLock lock(d_.tree.mutex());
  if (d_.files.ReleaseLocked(*open)) RemoveIfForgottenLocked(node);
}

Status LiveNodes::Fsync(NodeId, HandleId handle, bool) {
  RETURN_IF_ERROR(Syncable());
  OpenFile& file = *FileOf(handle)->file;
  RETURN_IF_ERROR(SyncStage(file.inode, SyncedContents::kAll));
  RETURN_IF_ERROR(d_.files.FlushForeign(file.inode));
  {
    MutexLock lock(d_.tree.mutex());
    d_.files.WantSnapshotLocked(file, d_.clock.MonotonicNs());
  }
  return d_.tree.catalog().SyncLog();
}

Status LiveNodes::SyncStage(InodeNumber inode, SyncedContents which) {
  LiveFiles::Flush flush;
  {
    MutexLock lock(d_.tree.mutex());
    flush = d_.files.BeginFlushLocked(inode);
    if (!flush.file) return Status();
    if (which == SyncedContents::kCaptured && !flush.record.captured) {
      d_.files.EndFlushLocked(flush);
      return Status();
    }
  }
  Status synced = flush.body->Sync();
  if (synced.ok() && !flush.record.durable) synced = d_.stages.SyncName(flush.record.stage);
  if (!synced.ok()) Fence("a staging file could not be flushed: " + synced.ToString());
  MutexLock lock(d_.tree.mutex());
  d_.files.EndFlushLocked(flush);
  if (!synced.ok() || flush.record.durable) return synced;
  return d_.files.MarkDurableLocked(flush.content, flush.record.stage);
}

// `varve sync`: what is open is captured as it is, and all of it is stored soon.
Status LiveNodes::Sync(InodeNumber inode) {
  RETURN_IF_ERROR(Syncable());
  std::vector<InodeNumber> open;
  bool everything = false;
  {
    MutexLock lock(d_.tree.mutex());
    RETURN_IF_ERROR(d_.files.CaptureAllLocked());
    ASSIGN_OR_RETURN(const InodeRecord record, d_.tree.Inode(inode));
    everything = S_ISDIR(record.mode);
    if (everything) {
      // Also what was closed a moment ago: its RELEASE may still be on its way.
      for (const auto& file : d_.files.AllLocked()) open.push_back(file->inode);
    } else {
      open.push_back(inode);
    }
  }
  for (const InodeNumber file : open) RETURN_IF_ERROR(SyncStage(file, SyncedContents::kCaptured));
  RETURN_IF_ERROR(d_.hurry(everything));
  return d_.tree.catalog().SyncLog();
}

Status LiveNodes::Allocate(NodeId node, HandleId handle, int mode, const FileRange& range,
                           bool clear_set_id) {
  if (fenced()) return Status::Errno(EROFS);
  if (range.offset + range.size > kFileBytesMax) return Status::Errno(EFBIG);
  OpenFile& file = *FileOf(handle)->file;
  RETURN_IF_ERROR(ClearPrivileges(node, file, clear_set_id));
  const std::shared_ptr<Body> body = file.body();
  if (!body) return Status::Errno(EIO);
  return body->Allocate(mode, range.offset, range.size);
}

Result<uint64_t> LiveNodes::Seek(NodeId, HandleId handle, uint64_t offset, int whence) {
  const std::shared_ptr<Body> body = FileOf(handle)->file->body();
  if (!body) return Status::Errno(EIO);
  return body->Seek(offset, whence);
}

Result<size_t> LiveNodes::CopyRange(const CopySource& source, NodeId node, HandleId handle,
                                    uint64_t offset, size_t size, bool clear_set_id) {
  if (fenced()) return Status::Errno(EROFS);
  if (KindOf(source.node) != NodeKind::kLive) return Status::Errno(EXDEV);
  if (offset + size > kFileBytesMax) return Status::Errno(EFBIG);
  RETURN_IF_ERROR(ClearPrivileges(node, *FileOf(handle)->file, clear_set_id));
  if (source.offset == offset) {
    MutexLock lock(d_.tree.mutex());
    ASSIGN_OR_RETURN(const uint64_t end,
                     d_.files.ShareRangeLocked(*FileOf(source.handle)->file, *FileOf(handle)->file,
                                               {offset, offset + size}));
    if (end > offset) return static_cast<size_t>(end - offset);
  }
  const std::shared_ptr<Body> from = FileOf(source.handle)->file->body();
  const std::shared_ptr<Body> to = FileOf(handle)->file->body();
  if (!from || !to) return Status::Errno(EIO);
  if (from->whole_stage() && to->whole_stage()) {
    ASSIGN_OR_RETURN(const uint64_t copied,
                     to->stage()->CopyFrom(*from->stage(), source.offset, offset, size));
    return static_cast<size_t>(copied);
  }
  // Through memory, one bounded step a call; the caller asks again for the rest.
  const size_t step = std::min(size, kCopyStep);
  ASSIGN_OR_RETURN(ReadReply reply, from->Read(source.offset, step));
  if (reply.descriptor >= 0) {
    std::string bytes(step, '\0');
    ASSIGN_OR_RETURN(
        const size_t got,
        from->stage()->ReadAt(source.offset, {reinterpret_cast<uint8_t*>(bytes.data()), step}));
    bytes.resize(got);
    reply = ReadReply::Of(std::move(bytes));
  }
  uint64_t at = offset;
  for (const ByteView part : reply.parts) {
    RETURN_IF_ERROR(to->Write(at, part));
    at += part.size();
  }
  return static_cast<size_t>(at - offset);
}

}  // namespace varve
