#include "fs/core/body.h"

#include <fcntl.h>
#include <unistd.h>

#include <algorithm>

namespace varve {
namespace {

// fallocate(2) modes that only reserve space and leave every byte as it reads.
bool OnlyReserves(int mode) { return (mode & ~FALLOC_FL_KEEP_SIZE) == 0; }

}  // namespace

Status Body::Write(uint64_t, ByteView) { return Status::Errno(EBADF); }
Status Body::Append(ByteView) { return Status::Errno(EBADF); }
Status Body::Truncate(uint64_t) { return Status::Errno(EBADF); }
Status Body::Allocate(int, uint64_t, uint64_t) { return Status::Errno(EBADF); }
Status Body::Sync() {
  const std::shared_ptr<File> file = stage();
  return file ? file->SyncData() : Status();
}

// --- StagedBody ---

Result<ReadReply> StagedBody::Read(uint64_t offset, size_t size) {
  if (stage_->descriptor() >= 0) {
    ReadReply reply;
    reply.descriptor = stage_->descriptor();
    reply.offset = offset;
    reply.size = size;
    reply.keep_alive = stage_;
    return reply;
  }
  std::string bytes(size, '\0');
  ASSIGN_OR_RETURN(const size_t got,
                   stage_->ReadAt(offset, {reinterpret_cast<uint8_t*>(bytes.data()), size}));
  bytes.resize(got);
  return ReadReply::Of(std::move(bytes));
}

Result<uint64_t> StagedBody::SizeBytes() {
  ASSIGN_OR_RETURN(const struct stat stat, stage_->Stat());
  return static_cast<uint64_t>(stat.st_size);
}

Result<uint64_t> StagedBody::Seek(uint64_t offset, int whence) {
  return stage_->Seek(offset, whence);
}

Status StagedBody::Write(uint64_t offset, ByteView bytes) {
  ASSIGN_OR_RETURN(const uint64_t size, SizeBytes());
  const Status written = stage_->WriteAt(offset, bytes);
  // A full disk may have taken a part of it. The kernel lets nobody else make the file
  // longer meanwhile.
  if (!written.ok() && offset + bytes.size() > size) (void)stage_->Truncate(size);
  return written;
}

Status StagedBody::Append(ByteView bytes) {
  MutexLock lock(append_mutex_);
  ASSIGN_OR_RETURN(const uint64_t size, SizeBytes());
  return Write(size, bytes);
}

Status StagedBody::Truncate(uint64_t size) { return stage_->Truncate(size); }

Status StagedBody::Allocate(int mode, uint64_t offset, uint64_t size) {
  return stage_->Allocate(mode, offset, size);
}

// --- OverlayBody ---

Result<uint64_t> OverlayBody::SizeBytes() {
  ASSIGN_OR_RETURN(const struct stat stat, stage_->Stat());
  return static_cast<uint64_t>(stat.st_size);
}

Result<ReadReply> OverlayBody::Read(uint64_t offset, size_t size) {
  ReaderLock lock(mutex_);
  ASSIGN_OR_RETURN(const uint64_t end, SizeBytes());
  if (offset >= end) return ReadReply::Of({});
  std::string bytes(static_cast<size_t>(std::min<uint64_t>(size, end - offset)), '\0');
  RETURN_IF_ERROR(ReadLocked(offset, {reinterpret_cast<uint8_t*>(bytes.data()), bytes.size()}));
  return ReadReply::Of(std::move(bytes));
}

Status OverlayBody::ReadInto(uint64_t offset, MutableBytes out) {
  ReaderLock lock(mutex_);
  return ReadLocked(offset, out);
}

Status OverlayBody::ReadLocked(uint64_t offset, MutableBytes out) {
  const uint64_t end = offset + out.size();
  uint64_t at = offset;
  while (at < end) {
    const ByteRange extent = parts_.extents.shown().Next(at, end);
    if (at < extent.begin) {  // the base, as far as it shows, then zeros
      const uint64_t base_end = std::clamp(parts_.base_shown_bytes, at, extent.begin);
      if (base_end > at)
        RETURN_IF_ERROR(parts_.base_reader->ReadInto(at, out.subspan(at - offset, base_end - at)));
      std::fill(out.begin() + static_cast<ptrdiff_t>(base_end - offset),
                out.begin() + static_cast<ptrdiff_t>(extent.begin - offset), uint8_t{0});
    }
    if (extent.begin < extent.end) {
      const MutableBytes part = out.subspan(extent.begin - offset, extent.end - extent.begin);
      ASSIGN_OR_RETURN(const size_t got, stage_->ReadAt(extent.begin, part));
      std::fill(part.begin() + static_cast<ptrdiff_t>(got), part.end(), uint8_t{0});
    }
    at = extent.end;
  }
  return Status();
}

Status OverlayBody::AddLocked(ByteRange range) {
  OverlayExtents::Addition addition;
  Batch batch;
  if (!parts_.extents.Plan(parts_.content, range, &addition, &batch)) return Status();
  RETURN_IF_ERROR(log_.Log(batch));
  parts_.extents.Apply(addition);
  return Status();
}

Status OverlayBody::Sync() {
  WriterLock lock(mutex_);
  RETURN_IF_ERROR(stage_->SyncData());
  if (parts_.extents.settled()) return Status();
  Batch batch;
  OverlayExtents settled = parts_.extents.Settled(parts_.content, &batch);
  RETURN_IF_ERROR(log_.Log(batch));
  parts_.extents = std::move(settled);
  return Status();
}

Status OverlayBody::WriteLocked(uint64_t offset, ByteView bytes) {
  // First the bytes, then the extent that names them: a death in between leaves
  // what the base shows, and the write was not acknowledged.
  ASSIGN_OR_RETURN(const uint64_t size, SizeBytes());
  RETURN_IF_ERROR(stage_->WriteAt(offset, bytes));
  const Status added = AddLocked({offset, offset + bytes.size()});
  // What failed has changed nothing; without room for the extent, the file is not longer.
  if (!added.ok() && offset + bytes.size() > size) (void)stage_->Truncate(size);
  return added;
}

Status OverlayBody::Write(uint64_t offset, ByteView bytes) {
  WriterLock lock(mutex_);
  return WriteLocked(offset, bytes);
}

Status OverlayBody::Append(ByteView bytes) {
  WriterLock lock(mutex_);
  ASSIGN_OR_RETURN(const uint64_t size, SizeBytes());
  return WriteLocked(size, bytes);
}

Status OverlayBody::Truncate(uint64_t size) {
  WriterLock lock(mutex_);
  ASSIGN_OR_RETURN(const uint64_t old_size, SizeBytes());
  RETURN_IF_ERROR(stage_->Truncate(size));
  if (size >= old_size) return Status();
  // The staging file first: after a death in between, recovery clamps what shows
  // of the base to the file's size. And flushed: rows that survive a power cut without
  // it would show zeros up to the old size.
  RETURN_IF_ERROR(stage_->SyncData());
  Batch batch;
  OverlayExtents cut = parts_.extents.Cut(parts_.content, size, &batch);
  const uint64_t base_shown = std::min(size, parts_.base_shown_bytes);
  if (base_shown < parts_.base_shown_bytes)
    batch.Put(key::Extent(parts_.content, key::kBaseShown), EncodeOffset(base_shown));
  const Status logged = batch.empty() ? Status() : log_.Log(batch);
  if (!logged.ok()) {
    (void)stage_->Truncate(old_size);  // as long as the index says
    return logged;
  }
  parts_.extents = std::move(cut);
  parts_.base_shown_bytes = base_shown;
  return Status();
}

Status OverlayBody::Allocate(int mode, uint64_t offset, uint64_t size) {
  WriterLock lock(mutex_);
  ASSIGN_OR_RETURN(const uint64_t old_size, SizeBytes());
  RETURN_IF_ERROR(stage_->Allocate(mode, offset, size));
  if (OnlyReserves(mode)) return Status();
  ASSIGN_OR_RETURN(const uint64_t new_size, SizeBytes());
  const uint64_t end = std::min(offset + size, std::max(old_size, new_size));
  return AddLocked({offset, end});
}

Result<uint64_t> OverlayBody::Seek(uint64_t offset, int whence) {
  ReaderLock lock(mutex_);
  ASSIGN_OR_RETURN(const uint64_t size, SizeBytes());
  if (offset >= size) return Status::Errno(ENXIO);
  // Between extents the base decides, inside them the staging file.
  uint64_t at = offset;
  while (at < size) {
    const ByteRange extent = parts_.extents.shown().Next(at, size);
    const bool in_extent = extent.begin == at && extent.end > at;
    const uint64_t piece_end = in_extent ? extent.end : extent.begin;
    uint64_t found = piece_end;
    if (in_extent) {
      Result<uint64_t> sought = stage_->Seek(at, whence);
      if (sought.ok()) found = std::min(*sought, piece_end);
    } else {
      const uint64_t base_end = std::clamp(parts_.base_shown_bytes, at, piece_end);
      if (base_end > at) {
        Result<uint64_t> sought = parts_.base_reader->Seek(at, whence);
        found = std::min(sought.ok() ? *sought : base_end, base_end);
      }
      if (found >= base_end && whence == SEEK_HOLE && base_end < piece_end) found = base_end;
      if (found >= base_end && whence == SEEK_DATA) found = piece_end;
    }
    if (found < piece_end) return found;
    at = piece_end;
  }
  if (whence == SEEK_HOLE) return size;
  return Status::Errno(ENXIO);
}

Result<uint64_t> OverlayBody::ShowMore(ByteRange range) {
  WriterLock lock(mutex_);
  ASSIGN_OR_RETURN(const uint64_t size, SizeBytes());
  if (size != range.begin || parts_.base_shown_bytes != range.begin) return 0;
  Batch batch;
  batch.Put(key::Extent(parts_.content, key::kBaseShown), EncodeOffset(range.end));
  RETURN_IF_ERROR(log_.Log(batch));
  parts_.base_shown_bytes = range.end;
  const Status longer = stage_->Truncate(range.end);
  if (longer.ok()) return range.end;
  Batch undo;
  undo.Put(key::Extent(parts_.content, key::kBaseShown), EncodeOffset(range.begin));
  RETURN_IF_ERROR(log_.Log(undo));
  parts_.base_shown_bytes = range.begin;
  return longer;
}

DigestBase OverlayBody::Difference() {
  ReaderLock lock(mutex_);
  return {parts_.base, parts_.base_shown_bytes, parts_.extents.shown().All()};
}

bool OverlayBody::Changed() {
  ReaderLock lock(mutex_);
  return !parts_.extents.shown().empty() ||
         parts_.base_shown_bytes < parts_.base_reader->size_bytes();
}

}  // namespace varve
