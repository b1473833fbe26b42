// The handles of open files, and what opening and closing them makes of the content.

#include <fcntl.h>

#include "fs/core/io_mode.h"
#include "fs/core/live_files.h"
#include "store/base/log.h"

namespace varve {
namespace {

constexpr mode_t kSetIdBits = S_ISUID | S_ISGID;

bool Later(const struct timespec& a, const struct timespec& b) {
  return a.tv_sec != b.tv_sec ? a.tv_sec > b.tv_sec : a.tv_nsec > b.tv_nsec;
}

}  // namespace

Result<Opened> LiveFiles::OpenLocked(const std::shared_ptr<OpenFile>& file,
                                     const InodeRecord& record, const OpenRequest& request) {
  const int flags = request.flags;
  const bool writable = (flags & O_ACCMODE) != O_RDONLY;
  const std::shared_ptr<Body> body = file->body();
  IoModeFacts facts;
  facts.passthrough_offered = d_.passthrough;
  facts.whole_stage = body->whole_stage();
  facts.writable = writable;
  facts.privileged_bits = (record.mode & kSetIdBits) != 0 || file->capability;
  // That is how cp(1) begins: the original is open for reading, the copy new.
  facts.may_be_copy = (flags & (O_ACCMODE | O_EXCL)) == (O_WRONLY | O_EXCL) &&
                      record.size_bytes == 0 && readers_.contains(request.pid);
  IoMode mode = DecideIoMode(*file, facts);
  if (mode == IoMode::kPassthrough && file->backing_id == 0) {
    // A read-only descriptor: the kernel opens the file anew as the user opens it,
    // and a writable one of ours would refuse the digester's lease.
    ASSIGN_OR_RETURN(const std::shared_ptr<File> backing,
                     d_.stages.Open(file->record.stage, OpenMode::kRead));
    file->backing_id = d_.kernel.RegisterBacking(backing->descriptor());
    if (file->backing_id == 0) mode = IoMode::kDaemon;
  }
  file->mode = mode;
  Opened opened;
  if (mode == IoMode::kPassthrough) {
    opened.backing_id = file->backing_id;
  } else {
    opened.keep_cache = true;  // every change of the bytes goes through the kernel
    // Who only writes needs no page cache: the pages that he writes go to the staging
    // file's at once. The kernel drops what readers have cached of them.
    opened.direct_io = d_.direct_writes && (flags & O_ACCMODE) == O_WRONLY;
  }
  opened.no_flush = !writable;
  ++file->handles;
  if (writable) {
    if (file->writers == 0) file->snapshot_ns = d_.clock.MonotonicNs();
    ++file->writers;
    ++file->unclosed;
  }
  if ((flags & O_ACCMODE) == O_RDONLY) ++readers_[request.pid];
  opened.handle = reinterpret_cast<HandleId>(new FileHandle{file, request, writable, false});
  return opened;
}

Status LiveFiles::FlushLocked(FileHandle& handle) {
  OpenFile& file = *handle.file;
  if (!handle.flushed) {
    handle.flushed = true;
    --file.unclosed;
  }
  if (file.unclosed > 0) return Status();
  ASSIGN_OR_RETURN(InodeRecord record, d_.tree.Inode(file.inode));
  return CaptureLocked(file, &record);
}

Status LiveFiles::RefreshLocked(OpenFile& file, InodeRecord* record) {
  const std::shared_ptr<Body> body = file.body();
  if (!body || file.content == 0 || file.record.stored) return Status();
  const std::shared_ptr<File> stage = body->stage();
  if (!stage) return Status();
  ASSIGN_OR_RETURN(const struct stat stat, stage->Stat());
  record->size_bytes = static_cast<uint64_t>(stat.st_size);
  record->modify_time = stat.st_mtim;
  if (Later(stat.st_atim, record->access_time)) record->access_time = stat.st_atim;
  if (Later(stat.st_ctim, record->change_time)) record->change_time = stat.st_ctim;
  const uint64_t data = static_cast<uint64_t>(stat.st_blocks) * 512;
  record->hole_bytes = 0;
  if (body->whole_stage() && data < record->size_bytes)
    record->hole_bytes = record->size_bytes - data;
  if ((record->mode & kSetIdBits) != 0 && file.mode == IoMode::kPassthrough &&
      file.privileged.size_bytes >= 0 && !(Stamp::Of(stat) == file.privileged)) {
    // The bits were set while the file was open for writing, and then it was
    // written: the kernel passed that through without clearing them.
    record->mode &= ~static_cast<mode_t>(S_ISUID);
    if ((record->mode & S_IXGRP) != 0) record->mode &= ~static_cast<mode_t>(S_ISGID);
    file.privileged = Stamp();
    Batch batch;
    Tree::PutInode(file.inode, *record, &batch);
    RETURN_IF_ERROR(d_.tree.Apply(batch));
  }
  return Status();
}

Status LiveFiles::CaptureLocked(OpenFile& file, InodeRecord* record) {
  const std::shared_ptr<Body> body = file.body();
  if (!body || file.content == 0 || file.record.stored) return Status();
  const std::shared_ptr<File> stage = body->stage();
  if (!stage) return Status();
  ASSIGN_OR_RETURN(const struct stat stat, stage->Stat());
  const Stamp now = Stamp::Of(stat);
  if (now == file.captured) return Status();
  if (record->links == 0 && !file.record.captured) return Status();  // no version names it
  RETURN_IF_ERROR(RefreshLocked(file, record));
  ContentRecord captured = file.record;
  captured.captured = true;
  captured.size_bytes = record->size_bytes;
  Batch batch;
  Tree::PutContent(file.content, captured, &batch);
  Tree::PutInode(file.inode, *record, &batch);
  RETURN_IF_ERROR(d_.history.Capture(file.inode, *record, file.content, &batch));
  RETURN_IF_ERROR(d_.tree.Apply(batch));
  file.record = captured;
  file.captured = now;
  return Status();
}

bool LiveFiles::ReleaseLocked(FileHandle& handle) {
  OpenFile& file = *handle.file;
  if (handle.writable) {
    const Status captured = FlushLocked(handle);
    if (!captured.ok() && captured.os_errno() != ESTALE)
      LogError("cannot capture {}: {}", d_.tree.PathOf(file.inode), captured.ToString());
    --file.writers;
    if (file.writers == 0) snapshots_.erase(file.inode);  // its close has captured it
    if (file.writers == 0 && file.content != 0 && !file.record.captured) {
      const Status reverted = RevertLocked(file);
      if (!reverted.ok() && reverted.os_errno() != ESTALE)
        LogError("cannot settle {}: {}", d_.tree.PathOf(file.inode), reverted.ToString());
    }
  }
  if ((handle.request.flags & O_ACCMODE) == O_RDONLY) {
    const auto reader = readers_.find(handle.request.pid);
    if (--reader->second == 0) readers_.erase(reader);
  }
  --file.handles;
  const bool last = file.handles == 0;
  if (last) {
    file.mode = IoMode::kUndecided;
    EndUncapturedLocked(file);
  }
  SettleLocked(file);
  changed_.NotifyAll();
  return last;
}

void LiveFiles::CloseFlushedLocked() {
  for (const std::shared_ptr<OpenFile>& file : AllLocked()) {
    if (file->writers == 0 || file->unclosed > 0) continue;
    file->writers = 0;
    file->handles = 0;
    SettleLocked(*file);
  }
}

// Nobody will close it any more. What was not changed is again what it was; where that cannot
// be, it is a version of its own: without one, nothing would make it durable.
void LiveFiles::EndUncapturedLocked(OpenFile& file) {
  if (file.writers > 0 || file.handles > 0 || !file.begun) return;
  if (file.content == 0 || file.record.captured || file.record.stored) return;
  const Status ended = [&]() -> Status {
    RETURN_IF_ERROR(RevertLocked(file));
    if (file.content == 0 || file.record.captured || file.record.stored) return Status();
    const std::shared_ptr<Body> body = file.body();
    if (file.record.base == 0 || !body || !body->stage()) return Status();
    ASSIGN_OR_RETURN(const struct stat stat, body->stage()->Stat());
    // Changed, and not captured: what did that failed half done.
    if (!(Stamp::Of(stat) == file.captured)) return Status();
    ASSIGN_OR_RETURN(InodeRecord record, d_.tree.Inode(file.inode));
    file.captured = Stamp();
    return CaptureLocked(file, &record);
  }();
  if (!ended.ok() && ended.os_errno() != ESTALE)
    LogError("cannot settle {}: {}", d_.tree.PathOf(file.inode), ended.ToString());
}

// Opened for writing, but never written: the file is again what it was.
Status LiveFiles::RevertLocked(OpenFile& file) {
  ASSIGN_OR_RETURN(InodeRecord record, d_.tree.Inode(file.inode));
  if (record.links == 0) return Status();  // goes with its inode
  const std::shared_ptr<Body> body = file.body();
  if (!body || !body->stage()) return Status();
  ASSIGN_OR_RETURN(const struct stat stat, body->stage()->Stat());
  if (!(Stamp::Of(stat) == file.captured)) return Status();
  const ContentId content = file.content;
  const ContentRecord left = file.record;
  Batch batch;
  ContentRecord base;
  if (left.base != 0) {
    ASSIGN_OR_RETURN(base, d_.tree.Content(left.base));
    // A pending base has a copy of the staging file: whoever has this one open keeps it, and
    // what was promised of it.
    const bool kept = file.handles > 0 || (left.durable && !base.durable);
    if (!base.stored && (kept || !base.captured || base.stage == 0)) return Status();
    ASSIGN_OR_RETURN(const bool same,
                     ShowsBase(content, left, static_cast<uint64_t>(stat.st_size)));
    if (!same) return Status();
  } else if (stat.st_size != 0) {
    return Status();
  }
  // The staging file becomes the hot copy of what is stored, if that has none.
  const bool own = left.base != 0 && base.inode == file.inode;
  const bool hot = own && base.stored && !left.overlay && base.stage == 0;
  batch.Delete(key::Content(content));
  if (hot) {
    base.stage = left.stage;
    Tree::PutContent(left.base, base, &batch);
    Tree::PutStageOwner(left.stage, left.base, &batch);
  } else {
    batch.Delete(key::Stage(left.stage));
    if (left.overlay) batch.Delete(key::Extent(content, key::kBaseShown));
  }
  record.content = left.base;
  Tree::PutInode(file.inode, record, &batch);
  RETURN_IF_ERROR(d_.tree.Apply(batch));
  file.content = left.base;
  file.record = base;
  file.begun = false;
  if (file.content != 0) RETURN_IF_ERROR(LoadRecordLocked(file));
  if (hot) {  // readers go on with the same staging file
    NoteHotLocked();
    return Status();
  }
  d_.stages.Remove(left.stage);
  file.SetBody(nullptr);
  return ReadyToReadLocked(file, record);
}

}  // namespace varve
