#include "fs/core/frozen_nodes.h"

#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cstdio>

#include "fs/core/access.h"
#include "fs/core/checkpoint_set.h"
#include "fs/core/content_verdict.h"
#include "fs/core/directory_history.h"
#include "fs/core/inode_stat.h"
#include "fs/core/status_attributes.h"
#include "fs/core/virtual_node.h"

namespace varve {
namespace {

constexpr NodeId kIdMask = (NodeId{1} << kNodeKindShift) - 1;
constexpr NodeId kKindBits = NodeId{static_cast<uint8_t>(NodeKind::kFrozen)} << kNodeKindShift;
constexpr uint64_t kDotCookie = 1;
constexpr uint64_t kDotDotCookie = 2;
constexpr size_t kListedAtOnce = 256;

uint64_t Mix(uint64_t hash) {
  hash ^= hash >> 32;
  hash *= 0xd6e8feb86659fd93;
  hash ^= hash >> 32;
  hash *= 0xd6e8feb86659fd93;
  return hash ^ hash >> 32;
}

bool SameRoot(const FrozenRoot& a, const FrozenRoot& b) {
  return a.version.moment == b.version.moment && a.version.inode == b.version.inode &&
         a.live == b.live && a.name == b.name;
}

Status NotFoundAsErrno(const Status& status) {
  return IsGone(status) ? Status::Errno(ENOENT) : status;
}

std::string_view ReasonName(CaptureReason reason) {
  switch (reason) {
    case CaptureReason::kQuiet:
      return "quiet";
    case CaptureReason::kRenamed:
      return "renamed";
    case CaptureReason::kPinned:
      return "pinned";
    case CaptureReason::kReadOnly:
      return "read-only";
    case CaptureReason::kCloned:
      return "cloned";
  }
  return "quiet";
}

// What is known of the version itself.
std::optional<std::string> RootAttribute(std::string_view name, const FrozenRoot& root) {
  name.remove_prefix(kStatusAttributePrefix.size());
  if (name == "version") return std::to_string(root.number);
  if (name == "reason") return std::string(ReasonName(root.version.reason));
  if (name == "captured") {
    std::array<char, 48> text{};
    std::snprintf(text.data(), text.size(), "%lld.%09ld",
                  static_cast<long long>(root.version.capture_time.tv_sec),
                  root.version.capture_time.tv_nsec);
    return text.data();
  }
  return std::nullopt;
}

}  // namespace

Result<FrozenNodes::NodePointer> FrozenNodes::Find(NodeId node) const {
  ReaderLock lock(mutex_);
  const auto found = known_.find(node);
  if (found == known_.end()) return Status::Errno(ESTALE);
  return found->second.node;
}

NodeId FrozenNodes::IdOf(const FrozenRoot& root, const PastInode& inode) const {
  uint64_t hash = Mix(Mix(root.live) ^ root.version.moment) ^ inode.moment;
  for (const char c : root.name) hash = (hash ^ static_cast<unsigned char>(c)) * 0x100000001b3;
  // Two nodes with one hash: the later one gets the next free id.
  for (NodeId id = Mix(Mix(hash) ^ inode.inode) & kIdMask;; id = (id + 1) & kIdMask) {
    const auto found = known_.find(kKindBits | id);
    if (found == known_.end()) return kKindBits | id;
    const Node& node = *found->second.node;
    if (node.inode.inode == inode.inode && node.inode.moment == inode.moment &&
        SameRoot(*node.root, root))
      return kKindBits | id;
  }
}

NodeId FrozenNodes::IdOfRoot(const FrozenRoot& root) const {
  ReaderLock lock(mutex_);
  return IdOf(root, InodeOf(root));
}

bool FrozenNodes::IsStored(const InodeRecord& record) const {
  if (record.content == 0) return true;
  const Result<ContentRecord> content = d_.tree.Content(record.content);
  return content.ok() && content->stored;
}

Attributes FrozenNodes::AttributesOf(const Node& node, NodeId id) const {
  Attributes attributes;
  attributes.valid_ns = kImmutableValidNs;
  attributes.stat = StatOf(id, node.record);
  return attributes;
}

Result<FrozenNodes::NodePointer> FrozenNodes::Load(NodePointer parent,
                                                   const DirentRecord& entry) const {
  auto node = std::make_shared<Node>();
  node->root = parent->root;
  node->inode = {entry.inode, entry.moment};
  Result<InodeRecord> record = PastOf(node->inode).Inode(entry.inode);
  if (!record.ok()) return NotFoundAsErrno(record.status());
  node->record = *std::move(record);
  if (node->record.content != 0) {
    // A power cut may have left nothing of it since.
    const Result<ContentRecord> content = d_.tree.Content(node->record.content);
    if (content.ok() && content->captured)
      node->record.size_bytes = std::min(node->record.size_bytes, content->size_bytes);
    node->record.hole_bytes = std::min(node->record.hole_bytes, node->record.size_bytes);
  }
  node->parent = std::move(parent);
  node->name = entry.name;
  return NodePointer(std::move(node));
}

Entry FrozenNodes::Remember(NodePointer node) {
  Entry entry;
  entry.entry_valid_ns = kSecondNs;
  WriterLock lock(mutex_);
  entry.node = IdOf(*node->root, node->inode);
  entry.attributes = AttributesOf(*node, entry.node);
  Known& known = known_[entry.node];
  ++known.lookups;
  known.node = std::move(node);
  return entry;
}

Result<Attributes> FrozenNodes::RootAttributes(const FrozenRoot& root) const {
  Result<InodeRecord> record = PastOf(InodeOf(root)).Inode(root.version.inode);
  if (!record.ok()) return NotFoundAsErrno(record.status());
  Node node;
  node.record = *std::move(record);
  return AttributesOf(node, IdOfRoot(root));
}

Result<Entry> FrozenNodes::Enter(const FrozenRoot& root) {
  Result<InodeRecord> record = PastOf(InodeOf(root)).Inode(root.version.inode);
  if (!record.ok()) return NotFoundAsErrno(record.status());
  auto node = std::make_shared<Node>();
  node->root = std::make_shared<const FrozenRoot>(root);
  node->inode = InodeOf(root);
  node->record = *std::move(record);
  return Remember(std::move(node));
}

InodeNumber FrozenNodes::LiveOf(const Node& node) const {
  InodeNumber inode = node.root->live;
  if (node.parent) {
    const InodeNumber parent = LiveOf(*node.parent);
    if (parent == 0) return 0;
    const Result<InodeNumber> child = d_.live.Child(parent, node.name);
    if (!child.ok()) return 0;
    inode = *child;
  }
  const Result<InodeRecord> now = d_.live.Inode(inode);
  return now.ok() && (now->mode & S_IFMT) == (node.record.mode & S_IFMT) ? inode : 0;
}

Status FrozenNodes::RequireBoth(const Node& node, const Caller& caller, int wanted) const {
  const InodeRecord& then = node.record;
  RETURN_IF_ERROR(RequireAccess({then.mode, then.uid, then.gid}, caller, wanted));
  if (caller.uid == 0) return Status();
  if (const InodeNumber live = LiveOf(node); live != 0) {
    const Result<InodeRecord> now = d_.live.Inode(live);
    if (now.ok()) return RequireAccess({now->mode, now->uid, now->gid}, caller, wanted);
    if (!IsGone(now.status())) return now.status();
  }
  return caller.uid == then.uid ? Status() : Status::Errno(EACCES);
}

Status FrozenNodes::RequireUse(const Node& node, const Caller& caller, int wanted) const {
  for (const Node* above = node.parent.get(); above != nullptr; above = above->parent.get())
    RETURN_IF_ERROR(RequireBoth(*above, caller, X_OK));
  return RequireBoth(node, caller, wanted);
}

Result<Entry> FrozenNodes::Lookup(const Caller& caller, NodeId parent, std::string_view name) {
  ASSIGN_OR_RETURN(const NodePointer directory, Find(parent));
  if (!S_ISDIR(directory->record.mode)) return Status::Errno(ENOTDIR);
  RETURN_IF_ERROR(RequireUse(*directory, caller, X_OK));
  ASSIGN_OR_RETURN(const std::optional<NamedEntry> entry,
                   PastOf(directory->inode).Find(directory->inode.inode, name));
  if (!entry) return Status::Errno(ENOENT);
  ASSIGN_OR_RETURN(NodePointer node, Load(directory, entry->record));
  return Remember(std::move(node));
}

void FrozenNodes::Forget(NodeId node, uint64_t lookups) {
  WriterLock lock(mutex_);
  const auto found = known_.find(node);
  if (found == known_.end()) return;
  Known& known = found->second;
  known.lookups -= std::min(known.lookups, lookups);
  if (known.lookups == 0) known_.erase(found);
}

Result<Attributes> FrozenNodes::GetAttributes(NodeId id, std::optional<HandleId>) {
  ASSIGN_OR_RETURN(const NodePointer node, Find(id));
  return AttributesOf(*node, id);
}

Result<std::string> FrozenNodes::ReadLink(NodeId id) {
  ASSIGN_OR_RETURN(const NodePointer node, Find(id));
  if (!S_ISLNK(node->record.mode)) return Status::Errno(EINVAL);
  return PastOf(node->inode).SymlinkTarget(node->inode.inode);
}

Result<Opened> FrozenNodes::Open(const Caller& caller, NodeId id, int flags) {
  if ((flags & O_ACCMODE) != O_RDONLY || (flags & O_TRUNC) != 0) return Status::Errno(EROFS);
  ASSIGN_OR_RETURN(const NodePointer node, Find(id));
  if (!S_ISREG(node->record.mode)) return Status::Errno(EISDIR);
  // Executing a file needs no permission to read it, and the kernel has checked that.
  const int wanted = R_OK;
  RETURN_IF_ERROR(RequireUse(*node, caller, wanted));
  std::shared_ptr<ContentReader> reader;
  const InodeRecord& record = node->record;
  const bool stored = IsStored(record);
  if (record.content != 0 && record.size_bytes > 0) {
    ASSIGN_OR_RETURN(reader,
                     d_.contents.OpenContent(record.content, record.size_bytes, PathOf(*node)));
  }
  Opened opened;
  opened.handle = ++last_handle_;
  opened.no_flush = true;
  WriterLock lock(mutex_);
  files_.emplace(opened.handle, std::move(reader));
  // What was cached before it was stored may be out of date: the first open after that
  // drops it.
  if (const auto known = known_.find(id); known != known_.end())
    opened.keep_cache = stored && std::exchange(known->second.opened_stored, stored);
  return opened;
}

Result<ReadReply> FrozenNodes::Read(NodeId, HandleId handle, uint64_t offset, size_t size) {
  std::shared_ptr<ContentReader> reader;
  {
    ReaderLock lock(mutex_);
    const auto found = files_.find(handle);
    if (found == files_.end()) return Status::Errno(EBADF);
    reader = found->second;
  }
  return reader ? reader->Read(offset, size) : ReadReply();
}

void FrozenNodes::Release(NodeId, HandleId handle) {
  std::shared_ptr<ContentReader> closed;  // ends after the lock does
  WriterLock lock(mutex_);
  const auto found = files_.find(handle);
  if (found == files_.end()) return;
  closed = std::move(found->second);
  files_.erase(found);
}

Result<uint64_t> FrozenNodes::Seek(NodeId, HandleId handle, uint64_t offset, int whence) {
  std::shared_ptr<ContentReader> reader;
  {
    ReaderLock lock(mutex_);
    const auto found = files_.find(handle);
    if (found == files_.end()) return Status::Errno(EBADF);
    reader = found->second;
  }
  if (!reader) return Status::Errno(ENXIO);
  return reader->Seek(offset, whence);
}

Result<Opened> FrozenNodes::OpenDirectory(const Caller& caller, NodeId id) {
  ASSIGN_OR_RETURN(const NodePointer node, Find(id));
  if (!S_ISDIR(node->record.mode)) return Status::Errno(ENOTDIR);
  RETURN_IF_ERROR(RequireUse(*node, caller, R_OK));
  Opened opened;
  opened.handle = id;
  opened.cache_listing = true;
  return opened;
}

Status FrozenNodes::ReadDirectory(const Caller&, NodeId id, HandleId, uint64_t cookie, bool plus,
                                  const ListingSink& sink) {
  ASSIGN_OR_RETURN(const NodePointer directory, Find(id));
  if (cookie < kDotCookie && !sink({".", id, S_IFDIR, kDotCookie, nullptr})) return Status();
  if (cookie < kDotDotCookie) {
    NodeId above = id;
    if (directory->parent) {
      ReaderLock lock(mutex_);
      above = IdOf(*directory->root, directory->parent->inode);
    }
    if (!sink({"..", above, S_IFDIR, kDotDotCookie, nullptr})) return Status();
  }
  const PastTree past = PastOf(directory->inode);
  while (true) {
    ASSIGN_OR_RETURN(const std::vector<NamedEntry> entries,
                     past.List(directory->inode.inode, cookie, kListedAtOnce));
    if (entries.empty()) return Status();
    for (const NamedEntry& entry : entries) {
      ListedName listed{entry.record.name, 0, entry.record.type, entry.slot, nullptr};
      Entry full;
      if (plus) {
        ASSIGN_OR_RETURN(NodePointer node, Load(directory, entry.record));
        full = Remember(std::move(node));
        listed.node = full.node;
        listed.entry = &full;
      } else {
        ReaderLock lock(mutex_);
        listed.node = IdOf(*directory->root, {entry.record.inode, entry.record.moment});
      }
      if (!sink(listed)) {
        if (plus) Forget(full.node, 1);
        return Status();
      }
      cookie = entry.slot;
    }
  }
}

Result<std::string> FrozenNodes::GetXattr(const Caller&, NodeId id, std::string_view name) {
  ASSIGN_OR_RETURN(const NodePointer node, Find(id));
  if (name.starts_with(kStatusAttributePrefix)) {
    ASSIGN_OR_RETURN(std::optional<std::string> status, S_ISDIR(node->record.mode)
                                                            ? DirectoryStatus(*node, name)
                                                            : FileStatus(*node, name));
    if (status) return *std::move(status);
  }
  ASSIGN_OR_RETURN(std::optional<std::string> value,
                   PastOf(node->inode).Xattr(node->inode.inode, name));
  if (!value) return Status::Errno(ENODATA);
  return *std::move(value);
}

Result<std::optional<std::string>> FrozenNodes::FileStatus(const Node& node,
                                                           std::string_view name) const {
  if (!S_ISREG(node.record.mode)) return std::optional<std::string>();
  StatusFacts facts;
  facts.id = node.record.content;
  facts.content.captured = facts.content.stored = facts.content.durable = true;
  if (facts.id != 0) {
    ASSIGN_OR_RETURN(facts.content, d_.tree.Content(facts.id));
    if (IsVerdict(name))
      RETURN_IF_ERROR(AddVerdict(d_.contents, facts.id, node.name, &facts.content));
  }
  return StatusAttribute(name, facts);
}

Result<std::optional<std::string>> FrozenNodes::DirectoryStatus(const Node& node,
                                                                std::string_view name) const {
  if (!node.parent) {
    if (std::optional<std::string> value = RootAttribute(name, *node.root)) return value;
  }
  if (!IsVerdict(name)) return std::optional<std::string>();
  const PastTree past = PastOf(node.inode);
  std::vector<SetMember> members;
  uint64_t after = 0;
  while (true) {
    ASSIGN_OR_RETURN(const std::vector<NamedEntry> entries,
                     past.List(node.inode.inode, after, kListedAtOnce));
    if (entries.empty()) break;
    after = entries.back().slot;
    for (const NamedEntry& entry : entries) {
      if (!S_ISREG(entry.record.type)) continue;
      ASSIGN_OR_RETURN(const InodeRecord record,
                       PastTree(d_.tree, entry.record.moment).Inode(entry.record.inode));
      members.push_back({entry.record.name, record.content, record.size_bytes});
    }
  }
  ASSIGN_OR_RETURN(const DirectoryVerdict verdict,
                   JudgeDirectory(d_.tree.catalog(), d_.contents, members));
  return DirectoryAttribute(name, verdict);
}

Result<std::string> FrozenNodes::ListXattr(const Caller&, NodeId id) {
  ASSIGN_OR_RETURN(const NodePointer node, Find(id));
  ASSIGN_OR_RETURN(const std::vector<std::string> names,
                   PastOf(node->inode).XattrNames(node->inode.inode));
  std::string listed;
  for (const std::string& name : names) {
    listed += name;
    listed.push_back('\0');
  }
  return listed;
}

std::string FrozenNodes::PathOf(const Node& node) const {
  if (node.parent) return PathOf(*node.parent) + "/" + node.name;
  return DirectoryPath(d_.live, node.root->live) + "/.varve/history/" + node.root->name;
}

Result<FrozenNodes::Place> FrozenNodes::PlaceOf(NodeId id) const {
  ASSIGN_OR_RETURN(const NodePointer node, Find(id));
  return Place{node->inode, *node->root, PathOf(*node)};
}

Status FrozenNodes::RequireKeptLocked(const FrozenRoot& root) const {
  ASSIGN_OR_RETURN(const InodeRecord directory, d_.tree.Inode(root.live));
  const Result<DirectoryVersionRecord> version =
      DirectoryHistory(d_.tree.catalog()).Find(directory, root.number);
  if (!version.ok()) return NotFoundAsErrno(version.status());
  return version->moment == root.version.moment ? Status() : Status::Errno(ENOENT);
}

size_t FrozenNodes::known() const {
  ReaderLock lock(mutex_);
  return known_.size();
}

}  // namespace varve
