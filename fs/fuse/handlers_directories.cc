// Requests on open directories.
#include "fs/fuse/handlers.h"
#include "fs/fuse/request.h"

namespace varve {
namespace {

void OpenDirectory(fuse_req_t raw, fuse_ino_t node, fuse_file_info* file) noexcept {
  Request request(raw, Operation::kOpenDirectory);
  request.ReplyOpenedDirectory(node, request.Nodes(node).OpenDirectory(request.GetCaller(), node),
                               file);
}

void List(fuse_req_t raw, fuse_ino_t node, size_t size, off_t offset, fuse_file_info* file,
          bool plus) noexcept {
  Request request(raw, Operation::kReadDirectory);
  ListingBuffer listing(request, size, plus);
  listing.Reply(request.Nodes(node).ReadDirectory(
      request.GetCaller(), node, file->fh, static_cast<uint64_t>(offset), plus,
      [&listing](const ListedName& listed) { return listing.Add(listed); }));
}

void ReadDirectory(fuse_req_t raw, fuse_ino_t node, size_t size, off_t offset,
                   fuse_file_info* file) noexcept {
  List(raw, node, size, offset, file, false);
}

void ReadDirectoryPlus(fuse_req_t raw, fuse_ino_t node, size_t size, off_t offset,
                       fuse_file_info* file) noexcept {
  List(raw, node, size, offset, file, true);
}

void ReleaseDirectory(fuse_req_t raw, fuse_ino_t node, fuse_file_info* file) noexcept {
  Request request(raw, Operation::kReleaseDirectory);
  request.Nodes(node).ReleaseDirectory(node, file->fh);
  request.Reply(Status());
}

void FsyncDirectory(fuse_req_t raw, fuse_ino_t node, int data_only, fuse_file_info* file) noexcept {
  Request request(raw, Operation::kFsyncDirectory);
  request.Reply(request.Nodes(node).FsyncDirectory(node, file->fh, data_only != 0));
}

}  // namespace

void SetDirectoryHandlers(fuse_lowlevel_ops* handlers) {
  handlers->opendir = OpenDirectory;
  handlers->readdir = ReadDirectory;
  handlers->readdirplus = ReadDirectoryPlus;
  handlers->releasedir = ReleaseDirectory;
  handlers->fsyncdir = FsyncDirectory;
}

}  // namespace varve
