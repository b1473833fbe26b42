#include "tests/support/fake_volume.h"

#include <fcntl.h>
#include <sys/xattr.h>
#include <unistd.h>

#include <vector>

#include "store/base/check.h"

namespace varve::testing {
namespace {

constexpr int64_t kValidNs = 3600 * int64_t{1'000'000'000};

struct timespec Now() {
  struct timespec now {};
  clock_gettime(CLOCK_REALTIME, &now);
  return now;
}

}  // namespace

FakeVolume::FakeVolume(std::string folder, KernelChannel& kernel)
    : folder_(std::move(folder)), kernel_(kernel) {
  MutexLock lock(mutex_);
  Caller root;
  root.uid = getuid();
  root.gid = getgid();
  AddNode(root, 0, S_IFDIR | 0755);
  nodes_[kRootNode].parent = kRootNode;
}

MountFacts FakeVolume::facts() const {
  MutexLock lock(mutex_);
  return facts_;
}

Caller FakeVolume::last_caller() const {
  MutexLock lock(mutex_);
  return last_caller_;
}

uint64_t FakeVolume::lookups() const {
  MutexLock lock(mutex_);
  uint64_t sum = 0;
  for (const auto& [id, node] : nodes_) sum += node.lookups;
  return sum;
}

size_t FakeVolume::open_handles() const {
  MutexLock lock(mutex_);
  size_t sum = 0;
  for (const auto& [id, node] : nodes_) sum += node.handles;
  return sum;
}

void FakeVolume::SetMountFacts(const MountFacts& facts) {
  MutexLock lock(mutex_);
  facts_ = facts;
}

FakeVolume::Node* FakeVolume::Find(NodeId node) {
  const auto found = nodes_.find(node);
  CHECK(found != nodes_.end());  // the kernel names only what it holds a lookup of
  return &found->second;
}

Result<NodeId> FakeVolume::Child(NodeId parent, std::string_view name) {
  const auto& children = Find(parent)->children;
  const auto found = children.find(name);
  if (found == children.end()) return Status(Code::kNotFound);
  return found->second.node;
}

NodeId FakeVolume::AddNode(const Caller& caller, NodeId parent, mode_t mode) {
  const NodeId id = next_node_++;
  Node& node = nodes_[id];
  node.parent = parent;
  node.stat.st_ino = id;
  node.stat.st_mode = mode;
  node.stat.st_nlink = S_ISDIR(mode) ? 2 : 1;
  node.stat.st_uid = caller.uid;
  node.stat.st_gid = caller.gid;
  node.stat.st_blksize = 4096;
  node.stat.st_atim = node.stat.st_mtim = node.stat.st_ctim = Now();
  if (S_ISREG(mode)) {
    node.bytes = UniqueFd(open(folder_.c_str(), O_TMPFILE | O_RDWR | O_CLOEXEC, 0600));
    CHECK(node.bytes.valid());
  }
  return id;
}

Result<Entry> FakeVolume::Add(const Caller& caller, NodeId parent, std::string_view name,
                              mode_t mode) {
  if (Child(parent, name).ok()) return Status(Code::kExists);
  const NodeId id = AddNode(caller, parent, mode);
  Find(parent)->children[std::string(name)] = {id, next_cookie_++};
  last_caller_ = caller;
  last_caller_.groups = nullptr;
  return EntryOf(id);
}

Attributes FakeVolume::AttributesOf(NodeId id) {
  Node* const node = Find(id);
  if (node->bytes.valid()) {
    struct stat bytes {};
    CHECK(fstat(node->bytes.get(), &bytes) == 0);
    node->stat.st_size = bytes.st_size;
    node->stat.st_blocks = bytes.st_blocks;
    node->stat.st_mtim = bytes.st_mtim;
  }
  return {node->stat, kValidNs};
}

// Counts a lookup.
Entry FakeVolume::EntryOf(NodeId node) {
  if (node != kRootNode) ++Find(node)->lookups;
  return {node, AttributesOf(node), kValidNs};
}

void FakeVolume::DropIfUnused(NodeId id) {
  const auto found = nodes_.find(id);
  if (found == nodes_.end()) return;
  const Node& node = found->second;
  if (node.stat.st_nlink == 0 && node.lookups == 0 && node.handles == 0) nodes_.erase(found);
}

Result<Entry> FakeVolume::Lookup(const Caller& caller, NodeId parent, std::string_view name) {
  MutexLock lock(mutex_);
  last_caller_ = caller;
  const Result<NodeId> child = Child(parent, name);
  if (!child.ok()) return Entry{0, {}, kValidNs};
  return EntryOf(*child);
}

void FakeVolume::Forget(NodeId node, uint64_t lookups) {
  MutexLock lock(mutex_);
  if (node == kRootNode) return;
  CHECK(Find(node)->lookups >= lookups);
  Find(node)->lookups -= lookups;
  DropIfUnused(node);
}

Result<Attributes> FakeVolume::GetAttributes(NodeId node, std::optional<HandleId>) {
  MutexLock lock(mutex_);
  return AttributesOf(node);
}

Result<Attributes> FakeVolume::SetAttributes(const Caller&, NodeId id,
                                             const AttributeChange& change,
                                             std::optional<HandleId>) {
  MutexLock lock(mutex_);
  Node* const node = Find(id);
  struct stat& stat = node->stat;
  if (change.mode) stat.st_mode = (stat.st_mode & S_IFMT) | (*change.mode & 07777);
  if (change.uid) stat.st_uid = *change.uid;
  if (change.gid) stat.st_gid = *change.gid;
  if (change.clear_set_id) stat.st_mode &= ~static_cast<mode_t>(S_ISUID | S_ISGID);
  if (change.size_bytes &&
      ftruncate(node->bytes.get(), static_cast<off_t>(*change.size_bytes)) != 0) {
    return Status::Errno(errno);
  }
  if (change.access_time) stat.st_atim = *change.access_time;
  if (change.access_now) stat.st_atim = Now();
  if (change.modify_time || change.modify_now) {
    stat.st_mtim = change.modify_now ? Now() : *change.modify_time;
    const struct timespec times[2] = {{0, UTIME_OMIT}, stat.st_mtim};
    if (node->bytes.valid()) CHECK(futimens(node->bytes.get(), times) == 0);
  }
  stat.st_ctim = Now();
  return AttributesOf(id);
}

Result<std::string> FakeVolume::ReadLink(NodeId node) {
  MutexLock lock(mutex_);
  return Find(node)->target;
}

Result<Entry> FakeVolume::MakeNode(const Caller& caller, NodeId parent, std::string_view name,
                                   mode_t mode, dev_t device) {
  MutexLock lock(mutex_);
  Result<Entry> entry = Add(caller, parent, name, mode);
  if (entry.ok()) Find(entry->node)->stat.st_rdev = entry->attributes.stat.st_rdev = device;
  return entry;
}

Result<Entry> FakeVolume::MakeDirectory(const Caller& caller, NodeId parent, std::string_view name,
                                        mode_t mode) {
  MutexLock lock(mutex_);
  return Add(caller, parent, name, mode | S_IFDIR);
}

Result<Entry> FakeVolume::MakeSymlink(const Caller& caller, NodeId parent, std::string_view name,
                                      std::string_view target) {
  MutexLock lock(mutex_);
  Result<Entry> entry = Add(caller, parent, name, S_IFLNK | 0777);
  if (entry.ok()) Find(entry->node)->target = target;
  return entry;
}

Result<Entry> FakeVolume::MakeLink(const Caller&, NodeId node, NodeId parent,
                                   std::string_view name) {
  MutexLock lock(mutex_);
  if (Child(parent, name).ok()) return Status(Code::kExists);
  ++Find(node)->stat.st_nlink;
  Find(parent)->children[std::string(name)] = {node, next_cookie_++};
  return EntryOf(node);
}

Status FakeVolume::RemoveFile(const Caller&, NodeId parent, std::string_view name) {
  MutexLock lock(mutex_);
  ASSIGN_OR_RETURN(const NodeId node, Child(parent, name));
  auto& children = Find(parent)->children;
  children.erase(children.find(name));
  --Find(node)->stat.st_nlink;
  DropIfUnused(node);
  return Status();
}

Status FakeVolume::RemoveDirectory(const Caller&, NodeId parent, std::string_view name) {
  MutexLock lock(mutex_);
  ASSIGN_OR_RETURN(const NodeId node, Child(parent, name));
  if (!Find(node)->children.empty()) return Status::Errno(ENOTEMPTY);
  auto& children = Find(parent)->children;
  children.erase(children.find(name));
  Find(node)->stat.st_nlink = 0;
  DropIfUnused(node);
  return Status();
}

Status FakeVolume::Rename(const Caller&, NodeId parent, std::string_view name,
                          const RenameTarget& target) {
  MutexLock lock(mutex_);
  ASSIGN_OR_RETURN(const NodeId node, Child(parent, name));
  const Result<NodeId> replaced = Child(target.parent, target.name);
  if (replaced.ok() && (target.flags & RENAME_NOREPLACE) != 0) return Status(Code::kExists);
  auto& from = Find(parent)->children;
  auto& to = Find(target.parent)->children;
  if ((target.flags & RENAME_EXCHANGE) != 0) {
    if (!replaced.ok()) return Status(Code::kNotFound);
    std::swap(from.find(name)->second.node, to.find(target.name)->second.node);
    return Status();
  }
  if (replaced.ok() && *replaced == node) return Status();
  from.erase(from.find(name));
  to[std::string(target.name)] = {node, next_cookie_++};
  if (replaced.ok()) {
    --Find(*replaced)->stat.st_nlink;
    DropIfUnused(*replaced);
  }
  return Status();
}

Opened FakeVolume::OpenNode(NodeId id) {
  Node* const node = Find(id);
  if (node->handles++ == 0) node->backing_id = kernel_.RegisterBacking(node->bytes.get());
  Opened opened;
  opened.handle = id;
  opened.backing_id = node->backing_id;
  opened.keep_cache = node->backing_id == 0;
  return opened;
}

Result<Created> FakeVolume::Create(const Caller& caller, NodeId parent, std::string_view name,
                                   mode_t mode, int) {
  MutexLock lock(mutex_);
  ASSIGN_OR_RETURN(const Entry entry, Add(caller, parent, name, mode | S_IFREG));
  return Created{entry, OpenNode(entry.node)};
}

Result<Created> FakeVolume::CreateUnnamed(const Caller& caller, NodeId parent, mode_t mode, int) {
  MutexLock lock(mutex_);
  const NodeId node = AddNode(caller, parent, mode | S_IFREG);
  Find(node)->stat.st_nlink = 0;
  const Entry entry = EntryOf(node);
  return Created{entry, OpenNode(node)};
}

Result<Opened> FakeVolume::Open(const Caller& caller, NodeId node, int flags) {
  MutexLock lock(mutex_);
  if ((flags & O_TRUNC) != 0 && caller.uid != 0) {
    Find(node)->stat.st_mode &= ~static_cast<mode_t>(S_ISUID | S_ISGID);
  }
  if ((flags & O_TRUNC) != 0 && ftruncate(Find(node)->bytes.get(), 0) != 0) {
    return Status::Errno(errno);
  }
  return OpenNode(node);
}

int FakeVolume::DescriptorOf(NodeId node) {
  MutexLock lock(mutex_);
  return Find(node)->bytes.get();
}

Result<ReadReply> FakeVolume::Read(NodeId node, HandleId, uint64_t offset, size_t size) {
  const int descriptor = DescriptorOf(node);
  if (from_memory_) {
    std::string bytes(size, '\0');
    const ssize_t got = pread(descriptor, bytes.data(), size, static_cast<off_t>(offset));
    if (got < 0) return Status::Errno(errno);
    bytes.resize(static_cast<size_t>(got));
    return ReadReply::Of(std::move(bytes));
  }
  ReadReply reply;
  reply.descriptor = descriptor;
  reply.offset = offset;
  reply.size = size;
  return reply;
}

Status FakeVolume::Write(NodeId node, HandleId, uint64_t offset, ByteView bytes,
                         bool clear_set_id) {
  if (clear_set_id) {
    MutexLock lock(mutex_);
    Find(node)->stat.st_mode &= ~static_cast<mode_t>(S_ISUID | S_ISGID);
  }
  const ssize_t written =
      pwrite(DescriptorOf(node), bytes.data(), bytes.size(), static_cast<off_t>(offset));
  return written == static_cast<ssize_t>(bytes.size()) ? Status() : Status::Errno(errno);
}

void FakeVolume::Release(NodeId id, HandleId) {
  MutexLock lock(mutex_);
  Node* const node = Find(id);
  if (--node->handles == 0 && node->backing_id != 0) {
    kernel_.UnregisterBacking(std::exchange(node->backing_id, 0));
  }
  DropIfUnused(id);
}

Status FakeVolume::Fsync(NodeId node, HandleId, bool) {
  return fdatasync(DescriptorOf(node)) == 0 ? Status() : Status::Errno(errno);
}

Status FakeVolume::Allocate(NodeId node, HandleId, int mode, const FileRange& range, bool) {
  const int result = fallocate(DescriptorOf(node), mode, static_cast<off_t>(range.offset),
                               static_cast<off_t>(range.size));
  return result == 0 ? Status() : Status::Errno(errno);
}

Result<uint64_t> FakeVolume::Seek(NodeId node, HandleId, uint64_t offset, int whence) {
  const off_t found = lseek(DescriptorOf(node), static_cast<off_t>(offset), whence);
  if (found < 0) return Status::Errno(errno);
  return static_cast<uint64_t>(found);
}

Result<size_t> FakeVolume::CopyRange(const CopySource& source, NodeId node, HandleId,
                                     uint64_t offset, size_t size, bool) {
  auto from = static_cast<off_t>(source.offset);
  auto to = static_cast<off_t>(offset);
  const ssize_t copied =
      copy_file_range(DescriptorOf(source.node), &from, DescriptorOf(node), &to, size, 0);
  if (copied < 0) return Status::Errno(errno);
  return static_cast<size_t>(copied);
}

Result<Opened> FakeVolume::OpenDirectory(const Caller&, NodeId node) {
  MutexLock lock(mutex_);
  ++Find(node)->handles;
  return Opened{};
}

void FakeVolume::ReleaseDirectory(NodeId node, HandleId) {
  MutexLock lock(mutex_);
  --Find(node)->handles;
  DropIfUnused(node);
}

Status FakeVolume::ReadDirectory(const Caller&, NodeId id, HandleId, uint64_t cookie, bool plus,
                                 const ListingSink& sink) {
  MutexLock lock(mutex_);
  const Node* const node = Find(id);
  if (cookie < 1 && !sink({".", id, S_IFDIR, 1, nullptr})) return Status();
  if (cookie < 2 && !sink({"..", node->parent, S_IFDIR, 2, nullptr})) return Status();
  std::map<uint64_t, std::pair<std::string, NodeId>> ordered;
  for (const auto& [name, dirent] : node->children) {
    if (dirent.cookie > cookie) ordered[dirent.cookie] = {name, dirent.node};
  }
  for (const auto& [at, child] : ordered) {
    const mode_t type = Find(child.second)->stat.st_mode & S_IFMT;
    const Entry entry{child.second, AttributesOf(child.second), kValidNs};
    if (!sink({child.first, child.second, type, at, plus ? &entry : nullptr})) break;
    if (plus) ++Find(child.second)->lookups;
  }
  return Status();
}

Result<std::string> FakeVolume::GetXattr(const Caller&, NodeId node, std::string_view name) {
  MutexLock lock(mutex_);
  const auto& xattrs = Find(node)->xattrs;
  const auto found = xattrs.find(name);
  if (found == xattrs.end()) return Status::Errno(ENODATA);
  return found->second;
}

Status FakeVolume::SetXattr(const Caller&, NodeId node, std::string_view name, ByteView value,
                            int flags) {
  MutexLock lock(mutex_);
  auto& xattrs = Find(node)->xattrs;
  const bool exists = xattrs.find(name) != xattrs.end();
  if (exists && (flags & XATTR_CREATE) != 0) return Status(Code::kExists);
  if (!exists && (flags & XATTR_REPLACE) != 0) return Status::Errno(ENODATA);
  xattrs[std::string(name)] = AsText(value);
  return Status();
}

Result<std::string> FakeVolume::ListXattr(const Caller&, NodeId node) {
  MutexLock lock(mutex_);
  std::string names;
  for (const auto& [name, value] : Find(node)->xattrs) names += name + '\0';
  return names;
}

Status FakeVolume::RemoveXattr(const Caller&, NodeId node, std::string_view name) {
  MutexLock lock(mutex_);
  auto& xattrs = Find(node)->xattrs;
  const auto found = xattrs.find(name);
  if (found == xattrs.end()) return Status::Errno(ENODATA);
  xattrs.erase(found);
  return Status();
}

Result<struct statvfs> FakeVolume::StatFilesystem() {
  struct statvfs space {};
  if (statvfs(folder_.c_str(), &space) != 0) return Status::Errno(errno);
  space.f_namemax = 255;
  return space;
}

}  // namespace varve::testing
