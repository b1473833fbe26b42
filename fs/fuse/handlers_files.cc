// Requests on open files.
#include "fs/fuse/handlers.h"
#include "fs/fuse/request.h"

namespace varve {
namespace {

void Create(fuse_req_t raw, fuse_ino_t parent, const char* name, mode_t mode,
            fuse_file_info* file) noexcept {
  Request request(raw, Operation::kCreate);
  request.Reply(request.Nodes(parent).Create(request.GetCaller(), parent, name, mode, file->flags),
                file);
}

void CreateUnnamed(fuse_req_t raw, fuse_ino_t parent, mode_t mode, fuse_file_info* file) noexcept {
  Request request(raw, Operation::kCreate);
  request.Reply(request.Nodes(parent).CreateUnnamed(request.GetCaller(), parent, mode, file->flags),
                file);
}

void Open(fuse_req_t raw, fuse_ino_t node, fuse_file_info* file) noexcept {
  Request request(raw, Operation::kOpen);
  request.ReplyOpened(node, request.Nodes(node).Open(request.GetCaller(), node, file->flags), file);
}

void Read(fuse_req_t raw, fuse_ino_t node, size_t size, off_t offset,
          fuse_file_info* file) noexcept {
  Request request(raw, Operation::kRead);
  request.Reply(request.Nodes(node).Read(node, file->fh, static_cast<uint64_t>(offset), size));
}

// From memory, not spliced (write_buf): handing pages through a pipe one by one cost
// 320 ms of processor time for 256 MiB where copying them cost 120 ms.
void Write(fuse_req_t raw, fuse_ino_t node, const char* bytes, size_t size, off_t offset,
           fuse_file_info* file) noexcept {
  Request request(raw, Operation::kWrite);
  request.ReplyWritten(request.Nodes(node).Write(node, file->fh, static_cast<uint64_t>(offset),
                                                 AsBytes({bytes, size}), file->kill_suidgid != 0),
                       size);
}

void Flush(fuse_req_t raw, fuse_ino_t node, fuse_file_info* file) noexcept {
  Request request(raw, Operation::kFlush);
  request.Reply(request.Nodes(node).Flush(node, file->fh));
}

void Release(fuse_req_t raw, fuse_ino_t node, fuse_file_info* file) noexcept {
  Request request(raw, Operation::kRelease);
  request.Nodes(node).Release(node, file->fh);
  request.Reply(Status());
}

void Fsync(fuse_req_t raw, fuse_ino_t node, int data_only, fuse_file_info* file) noexcept {
  Request request(raw, Operation::kFsync);
  request.Reply(request.Nodes(node).Fsync(node, file->fh, data_only != 0));
}

// WRITE says by a flag whether the caller may keep set-id bits; these do not.
bool ClearsSetId(const Request& request) { return request.GetCaller().uid != 0; }

void Allocate(fuse_req_t raw, fuse_ino_t node, int mode, off_t offset, off_t size,
              fuse_file_info* file) noexcept {
  Request request(raw, Operation::kAllocate);
  const FileRange range{static_cast<uint64_t>(offset), static_cast<uint64_t>(size)};
  request.Reply(request.Nodes(node).Allocate(node, file->fh, mode, range, ClearsSetId(request)));
}

void Seek(fuse_req_t raw, fuse_ino_t node, off_t offset, int whence,
          fuse_file_info* file) noexcept {
  Request request(raw, Operation::kSeek);
  request.ReplyOffset(
      request.Nodes(node).Seek(node, file->fh, static_cast<uint64_t>(offset), whence));
}

void CopyRange(fuse_req_t raw, fuse_ino_t source, off_t source_offset, fuse_file_info* source_file,
               fuse_ino_t node, off_t offset, fuse_file_info* file, size_t size, int) noexcept {
  Request request(raw, Operation::kCopyRange);
  if (KindOf(source) != KindOf(node)) {
    // The caller falls back to reading and writing.
    request.Reply(Status::Errno(EXDEV));
    return;
  }
  const CopySource from{source, source_file->fh, static_cast<uint64_t>(source_offset)};
  request.ReplyCopied(request.Nodes(node).CopyRange(
      from, node, file->fh, static_cast<uint64_t>(offset), size, ClearsSetId(request)));
}

}  // namespace

void SetFileHandlers(fuse_lowlevel_ops* handlers) {
  handlers->create = Create;
  handlers->tmpfile = CreateUnnamed;
  handlers->open = Open;
  handlers->read = Read;
  handlers->write = Write;
  handlers->flush = Flush;
  handlers->release = Release;
  handlers->fsync = Fsync;
  handlers->fallocate = Allocate;
  handlers->lseek = Seek;
  handlers->copy_file_range = CopyRange;
}

}  // namespace varve
