#include "fs/core/virtual_node.h"

namespace varve {

Result<std::shared_ptr<VirtualNode>> VirtualNode::Lookup(std::string_view) {
  return Status::Errno(ENOTDIR);
}
Result<std::vector<VirtualName>> VirtualNode::List() { return Status::Errno(ENOTDIR); }
Status VirtualNode::MakeDirectory(std::string_view) { return Status::Errno(EROFS); }
Status VirtualNode::RemoveDirectory(std::string_view) { return Status::Errno(EROFS); }
Result<std::string> VirtualNode::ReadLink() { return Status::Errno(EINVAL); }
Result<OpenedVirtual> VirtualNode::Open(const Caller&) { return Status::Errno(EISDIR); }
Result<std::string> VirtualNode::GetXattr(std::string_view) { return Status::Errno(ENODATA); }

bool IsGone(const Status& status) {
  return status.code() == Code::kNotFound || status.os_errno() == ESTALE;
}

Result<InodeRecord> VirtualDirectory::Directory() const {
  Result<InodeRecord> directory = context_.live.Inode(directory_);
  if (!directory.ok() && IsGone(directory.status())) return Status::Errno(ENOENT);
  return directory;
}

Result<Attributes> VirtualDirectory::GetAttributes() {
  ASSIGN_OR_RETURN(const InodeRecord directory, Directory());
  Attributes attributes;
  struct stat& stat = attributes.stat;
  stat.st_mode = S_IFDIR | (directory.mode & 0555);
  stat.st_nlink = 2;
  stat.st_uid = directory.uid;
  stat.st_gid = directory.gid;
  stat.st_blksize = 4096;
  stat.st_atim = directory.access_time;
  stat.st_mtim = directory.modify_time;
  stat.st_ctim = directory.change_time;
  attributes.valid_ns = kSecondNs;
  return attributes;
}

Attributes SymlinkAttributes(const InodeRecord& directory, size_t target_bytes) {
  Attributes attributes;
  struct stat& stat = attributes.stat;
  stat.st_mode = S_IFLNK | 0777;
  stat.st_nlink = 1;
  stat.st_uid = directory.uid;
  stat.st_gid = directory.gid;
  stat.st_size = static_cast<off_t>(target_bytes);
  stat.st_blksize = 4096;
  stat.st_atim = directory.modify_time;
  stat.st_mtim = directory.modify_time;
  stat.st_ctim = directory.change_time;
  return attributes;
}

std::string DirectoryPath(LiveLookup& live, InodeNumber directory) {
  constexpr int kLevelsMax = 2048;  // of PATH_MAX bytes; a damaged index may hold a ring
  std::string path;
  for (int level = 0; level < kLevelsMax && directory != kRootNode; ++level) {
    const Result<InodeRecord> record = live.Inode(directory);
    if (!record.ok()) return "(removed)" + path;
    path.insert(0, "/" + record->name);
    directory = record->parent;
  }
  return path;
}

}  // namespace varve
