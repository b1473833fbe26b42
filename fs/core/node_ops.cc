#include "fs/core/node_ops.h"

namespace varve {
namespace {

Status ReadOnly() { return Status::Errno(EROFS); }

}  // namespace

ReadReply ReadReply::Of(std::string bytes) {
  auto owned = std::make_shared<const std::string>(std::move(bytes));
  ReadReply reply;
  reply.size = owned->size();
  reply.parts = {AsBytes(*owned)};
  reply.keep_alive = std::move(owned);
  return reply;
}

Result<Attributes> NodeOps::SetAttributes(const Caller&, NodeId, const AttributeChange&,
                                          std::optional<HandleId>) {
  return ReadOnly();
}
Result<std::string> NodeOps::ReadLink(NodeId) { return Status::Errno(EINVAL); }
Result<Entry> NodeOps::MakeNode(const Caller&, NodeId, std::string_view, mode_t, dev_t) {
  return ReadOnly();
}
Result<Entry> NodeOps::MakeDirectory(const Caller&, NodeId, std::string_view, mode_t) {
  return ReadOnly();
}
Result<Entry> NodeOps::MakeSymlink(const Caller&, NodeId, std::string_view, std::string_view) {
  return ReadOnly();
}
Result<Entry> NodeOps::MakeLink(const Caller&, NodeId, NodeId, std::string_view) {
  return ReadOnly();
}
Status NodeOps::RemoveFile(const Caller&, NodeId, std::string_view) { return ReadOnly(); }
Status NodeOps::RemoveDirectory(const Caller&, NodeId, std::string_view) { return ReadOnly(); }
Status NodeOps::Rename(const Caller&, NodeId, std::string_view, const RenameTarget&) {
  return ReadOnly();
}
Result<Created> NodeOps::Create(const Caller&, NodeId, std::string_view, mode_t, int) {
  return ReadOnly();
}
Result<Created> NodeOps::CreateUnnamed(const Caller&, NodeId, mode_t, int) { return ReadOnly(); }
Status NodeOps::Write(NodeId, HandleId, uint64_t, ByteView, bool) { return Status::Errno(EBADF); }
Status NodeOps::Flush(NodeId, HandleId) { return Status(); }
Status NodeOps::Fsync(NodeId, HandleId, bool) { return Status(); }
Status NodeOps::Allocate(NodeId, HandleId, int, const FileRange&, bool) {
  return Status::Errno(EBADF);
}
Result<uint64_t> NodeOps::Seek(NodeId, HandleId, uint64_t, int) {
  return Status::Errno(EOPNOTSUPP);
}
Result<size_t> NodeOps::CopyRange(const CopySource&, NodeId, HandleId, uint64_t, size_t, bool) {
  return Status::Errno(EOPNOTSUPP);
}
Status NodeOps::FsyncDirectory(NodeId, HandleId, bool) { return Status(); }
Result<std::string> NodeOps::GetXattr(const Caller&, NodeId, std::string_view) {
  return Status::Errno(ENODATA);
}
Status NodeOps::SetXattr(const Caller&, NodeId, std::string_view, ByteView, int) {
  return ReadOnly();
}
Result<std::string> NodeOps::ListXattr(const Caller&, NodeId) { return std::string(); }
Status NodeOps::RemoveXattr(const Caller&, NodeId, std::string_view) { return ReadOnly(); }

}  // namespace varve
