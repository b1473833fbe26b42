#include "fs/core/virtual_nodes.h"

#include <fcntl.h>
#include <unistd.h>

#include <algorithm>

#include "fs/core/access.h"
#include "fs/core/frozen_nodes.h"
#include "fs/core/virtual_control.h"

namespace varve {
namespace {

constexpr NodeId kIdMask = (NodeId{1} << kNodeKindShift) - 1;
constexpr NodeId kKindBits = NodeId{static_cast<uint8_t>(NodeKind::kVirtual)} << kNodeKindShift;

// FNV-1a and a final mix: stable from mount to mount, which std::hash need not be.
uint64_t HashPath(std::string_view path) {
  uint64_t hash = 0xcbf29ce484222325;
  for (const char c : path) hash = (hash ^ static_cast<unsigned char>(c)) * 0x100000001b3;
  hash ^= hash >> 32;
  hash *= 0xd6e8feb86659fd93;
  return hash ^ hash >> 32;
}

Status CheckDirectory(VirtualNode& node, const Caller& caller, int wanted) {
  ASSIGN_OR_RETURN(const Attributes attributes, node.GetAttributes());
  const struct stat& stat = attributes.stat;
  if (!S_ISDIR(stat.st_mode)) return Status::Errno(ENOTDIR);
  return RequireAccess({stat.st_mode, stat.st_uid, stat.st_gid}, caller, wanted);
}

}  // namespace

Result<Entry> VirtualNodes::EnterDirectory(const Caller& caller, InodeNumber directory) {
  std::shared_ptr<VirtualNode> node = MakeControlDirectory(context_, directory);
  RETURN_IF_ERROR(CheckDirectory(*node, caller, X_OK));
  return Remember(std::move(node), std::to_string(directory));
}

std::string VirtualNodes::PathOf(const Known& directory, std::string_view name,
                                 const VirtualNode& node) {
  std::string path = directory.path + "/" + std::string(name);
  if (node.generation() != 0) path += "/" + std::to_string(node.generation());
  return path;
}

Result<VirtualNodes::Known> VirtualNodes::Find(NodeId node) const {
  ReaderLock lock(mutex_);
  const auto found = known_.find(node);
  if (found == known_.end()) return Status::Errno(ESTALE);
  return found->second;
}

NodeId VirtualNodes::IdOf(const std::string& path) const {
  // Two paths with one hash: the later one gets the next free id.
  for (NodeId id = HashPath(path) & kIdMask;; id = (id + 1) & kIdMask) {
    const auto found = known_.find(kKindBits | id);
    if (found == known_.end() || found->second.path == path) return kKindBits | id;
  }
}

Result<Entry> VirtualNodes::Remember(std::shared_ptr<VirtualNode> node, std::string path) {
  Entry entry;
  entry.entry_valid_ns = node->name_valid_ns();
  ASSIGN_OR_RETURN(entry.attributes, node->GetAttributes());
  WriterLock lock(mutex_);
  entry.node = IdOf(path);
  Known& known = known_[entry.node];
  if (known.lookups++ == 0) {
    known.node = std::move(node);
    known.path = std::move(path);
  }
  entry.attributes.stat.st_ino = entry.node;
  return entry;
}

Result<Entry> VirtualNodes::Lookup(const Caller& caller, NodeId parent, std::string_view name) {
  ASSIGN_OR_RETURN(const Known directory, Find(parent));
  RETURN_IF_ERROR(CheckDirectory(*directory.node, caller, X_OK));
  ASSIGN_OR_RETURN(std::shared_ptr<VirtualNode> node, directory.node->Lookup(name));
  std::string path = PathOf(directory, name, *node);
  return Arrive(std::move(node), std::move(path));
}

Result<Entry> VirtualNodes::Arrive(std::shared_ptr<VirtualNode> node, std::string path) {
  ASSIGN_OR_RETURN(const std::optional<Entry> door, node->Enter());
  if (door) return *door;
  return Remember(std::move(node), std::move(path));
}

Result<Entry> VirtualNodes::MakeDirectory(const Caller& caller, NodeId parent,
                                          std::string_view name, mode_t) {
  ASSIGN_OR_RETURN(const Known directory, Find(parent));
  RETURN_IF_ERROR(CheckDirectory(*directory.node, caller, W_OK | X_OK));
  RETURN_IF_ERROR(directory.node->MakeDirectory(name));
  return Lookup(caller, parent, name);
}

Status VirtualNodes::RemoveDirectory(const Caller& caller, NodeId parent, std::string_view name) {
  ASSIGN_OR_RETURN(const Known directory, Find(parent));
  RETURN_IF_ERROR(CheckDirectory(*directory.node, caller, W_OK | X_OK));
  return directory.node->RemoveDirectory(name);
}

void VirtualNodes::Forget(NodeId node, uint64_t lookups) {
  // What a listing of doors took back.
  if (KindOf(node) != NodeKind::kVirtual) return context_.frozen->Forget(node, lookups);
  WriterLock lock(mutex_);
  const auto found = known_.find(node);
  if (found == known_.end()) return;
  Known& known = found->second;
  known.lookups -= std::min(known.lookups, lookups);
  if (known.lookups == 0) known_.erase(found);
}

Result<Attributes> VirtualNodes::GetAttributes(NodeId node, std::optional<HandleId>) {
  ASSIGN_OR_RETURN(const Known known, Find(node));
  ASSIGN_OR_RETURN(Attributes attributes, known.node->GetAttributes());
  attributes.stat.st_ino = node;
  return attributes;
}

Result<std::string> VirtualNodes::ReadLink(NodeId node) {
  ASSIGN_OR_RETURN(const Known known, Find(node));
  return known.node->ReadLink();
}

Result<Opened> VirtualNodes::Open(const Caller& caller, NodeId node, int flags) {
  if ((flags & O_ACCMODE) != O_RDONLY || (flags & O_TRUNC) != 0) return Status::Errno(EROFS);
  ASSIGN_OR_RETURN(const Known known, Find(node));
  ASSIGN_OR_RETURN(OpenedVirtual file, known.node->Open(caller));
  Opened opened;
  opened.handle = ++last_handle_;
  opened.keep_cache = file.keep_cache;
  opened.direct_io = file.direct_io;
  opened.no_flush = true;
  WriterLock lock(mutex_);
  files_.emplace(opened.handle, std::move(file.file));
  return opened;
}

Result<std::shared_ptr<VirtualFile>> VirtualNodes::OpenFile(HandleId handle) const {
  ReaderLock lock(mutex_);
  const auto found = files_.find(handle);
  if (found == files_.end()) return Status::Errno(EBADF);
  return found->second;
}

Result<ReadReply> VirtualNodes::Read(NodeId, HandleId handle, uint64_t offset, size_t size) {
  ASSIGN_OR_RETURN(const std::shared_ptr<VirtualFile> file, OpenFile(handle));
  ASSIGN_OR_RETURN(ReadReply reply, file->Read(offset, size));
  return reply;
}

Status VirtualNodes::Write(NodeId, HandleId, uint64_t, ByteView, bool) {
  return Status::Errno(EROFS);
}

void VirtualNodes::Release(NodeId, HandleId handle) {
  std::shared_ptr<VirtualFile> closed;  // ends after the lock does
  WriterLock lock(mutex_);
  const auto found = files_.find(handle);
  if (found == files_.end()) return;
  closed = std::move(found->second);
  files_.erase(found);
}

Result<uint64_t> VirtualNodes::Seek(NodeId, HandleId handle, uint64_t offset, int whence) {
  ASSIGN_OR_RETURN(const std::shared_ptr<VirtualFile> file, OpenFile(handle));
  return file->Seek(offset, whence);
}

Result<Opened> VirtualNodes::OpenDirectory(const Caller& caller, NodeId node) {
  ASSIGN_OR_RETURN(const Known known, Find(node));
  RETURN_IF_ERROR(CheckDirectory(*known.node, caller, R_OK));
  Opened opened;
  opened.handle = ++last_handle_;
  WriterLock lock(mutex_);
  listings_.emplace(opened.handle, std::make_shared<Listing>());
  return opened;
}

Status VirtualNodes::ReadDirectory(const Caller&, NodeId node, HandleId handle, uint64_t cookie,
                                   bool plus, const ListingSink& sink) {
  ASSIGN_OR_RETURN(const Known directory, Find(node));
  std::shared_ptr<Listing> listing;
  {
    ReaderLock lock(mutex_);
    const auto found = listings_.find(handle);
    if (found == listings_.end()) return Status::Errno(EBADF);
    listing = found->second;
  }
  // The names stay as they were when the listing began, so that cookies stay right.
  MutexLock lock(listing->mutex);
  if (cookie == 0 || !listing->filled) {
    ASSIGN_OR_RETURN(listing->names, directory.node->List());
    listing->names.insert(listing->names.begin(), {{".", S_IFDIR}, {"..", S_IFDIR}});
    listing->filled = true;
  }
  for (uint64_t next = cookie; next < listing->names.size(); ++next) {
    if (!ListOne(directory, listing->names[next], next + 1, plus, sink)) break;
  }
  return Status();
}

bool VirtualNodes::ListOne(const Known& directory, const VirtualName& name, uint64_t next_cookie,
                           bool plus, const ListingSink& sink) {
  ListedName listed;
  listed.name = name.name;
  listed.type = name.type;
  listed.next_cookie = next_cookie;
  if (name.name == "." || name.name == "..") {
    ReaderLock lock(mutex_);
    listed.node = IdOf(directory.path);
    return sink(listed);
  }
  Result<std::shared_ptr<VirtualNode>> node = directory.node->Lookup(name.name);
  if (!node.ok()) return true;  // collected a moment ago
  std::string path = PathOf(directory, name.name, **node);
  Entry entry;
  if (plus) {
    Result<Entry> remembered = Arrive(*std::move(node), std::move(path));
    if (!remembered.ok()) return true;
    entry = *remembered;
    listed.entry = &entry;
    listed.node = entry.node;
  } else {
    ReaderLock lock(mutex_);
    listed.node = IdOf(path);
  }
  const bool taken = sink(listed);
  if (!taken && listed.entry != nullptr) Forget(entry.node, 1);
  return taken;
}

void VirtualNodes::ReleaseDirectory(NodeId, HandleId handle) {
  WriterLock lock(mutex_);
  listings_.erase(handle);
}

Result<std::string> VirtualNodes::GetXattr(const Caller&, NodeId node, std::string_view name) {
  ASSIGN_OR_RETURN(const Known known, Find(node));
  return known.node->GetXattr(name);
}

Result<struct statvfs> VirtualNodes::StatFilesystem() { return context_.filesystem_space(); }

size_t VirtualNodes::known() const {
  ReaderLock lock(mutex_);
  return known_.size();
}

}  // namespace varve
