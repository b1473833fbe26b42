// Requests on attributes, extended attributes and the filesystem's figures.
#include "fs/fuse/handlers.h"
#include "fs/fuse/request.h"

namespace varve {
namespace {

std::optional<HandleId> HandleOf(const fuse_file_info* file) {
  return file == nullptr ? std::nullopt : std::optional<HandleId>(file->fh);
}

AttributeChange DecodeChange(const struct stat& stat, int set) {
  AttributeChange change;
  if ((set & FUSE_SET_ATTR_MODE) != 0) change.mode = stat.st_mode;
  if ((set & FUSE_SET_ATTR_UID) != 0) change.uid = stat.st_uid;
  if ((set & FUSE_SET_ATTR_GID) != 0) change.gid = stat.st_gid;
  if ((set & FUSE_SET_ATTR_SIZE) != 0) change.size_bytes = static_cast<uint64_t>(stat.st_size);
  change.access_now = (set & FUSE_SET_ATTR_ATIME_NOW) != 0;
  change.modify_now = (set & FUSE_SET_ATTR_MTIME_NOW) != 0;
  if ((set & FUSE_SET_ATTR_ATIME) != 0 && !change.access_now) change.access_time = stat.st_atim;
  if ((set & FUSE_SET_ATTR_MTIME) != 0 && !change.modify_now) change.modify_time = stat.st_mtim;
  if ((set & FUSE_SET_ATTR_CTIME) != 0) change.change_time = stat.st_ctim;
  // The protocol's one bit for both; libfuse names its first half.
  change.clear_set_id = (set & FUSE_SET_ATTR_KILL_SUID) != 0;
  return change;
}

void GetAttributes(fuse_req_t raw, fuse_ino_t node, fuse_file_info* file) noexcept {
  Request request(raw, Operation::kGetAttributes);
  request.Reply(request.Nodes(node).GetAttributes(node, HandleOf(file)));
}

void SetAttributes(fuse_req_t raw, fuse_ino_t node, struct stat* stat, int set,
                   fuse_file_info* file) noexcept {
  Request request(raw, Operation::kSetAttributes);
  request.Reply(request.Nodes(node).SetAttributes(request.GetCaller(), node,
                                                  DecodeChange(*stat, set), HandleOf(file)));
}

void GetXattr(fuse_req_t raw, fuse_ino_t node, const char* name, size_t size) noexcept {
  Request request(raw, Operation::kGetXattr);
  request.ReplyXattr(request.Nodes(node).GetXattr(request.GetCaller(), node, name), size);
}

void SetXattr(fuse_req_t raw, fuse_ino_t node, const char* name, const char* value, size_t size,
              int flags) noexcept {
  Request request(raw, Operation::kSetXattr);
  request.Reply(
      request.Nodes(node).SetXattr(request.GetCaller(), node, name, AsBytes({value, size}), flags));
}

void ListXattr(fuse_req_t raw, fuse_ino_t node, size_t size) noexcept {
  Request request(raw, Operation::kListXattr);
  request.ReplyXattr(request.Nodes(node).ListXattr(request.GetCaller(), node), size);
}

void RemoveXattr(fuse_req_t raw, fuse_ino_t node, const char* name) noexcept {
  Request request(raw, Operation::kRemoveXattr);
  request.Reply(request.Nodes(node).RemoveXattr(request.GetCaller(), node, name));
}

void StatFilesystem(fuse_req_t raw, fuse_ino_t node) noexcept {
  Request request(raw, Operation::kStatFilesystem);
  request.Reply(request.Nodes(node == 0 ? kRootNode : node).StatFilesystem());
}

}  // namespace

void SetAttributeHandlers(fuse_lowlevel_ops* handlers) {
  handlers->getattr = GetAttributes;
  handlers->setattr = SetAttributes;
  handlers->getxattr = GetXattr;
  handlers->setxattr = SetXattr;
  handlers->listxattr = ListXattr;
  handlers->removexattr = RemoveXattr;
  handlers->statfs = StatFilesystem;
}

}  // namespace varve
