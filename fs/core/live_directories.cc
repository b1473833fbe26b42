// Listing live directories. A cookie is the slot of a name, so a listing goes on
// where it was, whatever was created or removed meanwhile.

#include "fs/core/live_nodes.h"

namespace varve {
namespace {

constexpr uint64_t kDotCookie = 1;
constexpr uint64_t kDotDotCookie = 2;
constexpr size_t kBatch = 256;

}  // namespace

Result<Opened> LiveNodes::OpenDirectory(const Caller&, NodeId node) {
  MutexLock lock(d_.tree.mutex());
  ASSIGN_OR_RETURN(const InodeRecord record, d_.tree.Inode(node));
  if (!S_ISDIR(record.mode)) return Status::Errno(ENOTDIR);
  Opened opened;
  opened.handle = node;
  return opened;
}

Status LiveNodes::ReadDirectory(const Caller&, NodeId node, HandleId, uint64_t cookie, bool plus,
                                const ListingSink& sink) {
  MutexLock lock(d_.tree.mutex());
  ASSIGN_OR_RETURN(const InodeRecord directory, d_.tree.Inode(node));
  if (cookie < kDotCookie && !sink({".", node, S_IFDIR, kDotCookie, nullptr})) return Status();
  if (cookie < kDotDotCookie && !sink({"..", directory.parent, S_IFDIR, kDotDotCookie, nullptr}))
    return Status();
  while (true) {
    ASSIGN_OR_RETURN(const std::vector<NamedEntry> entries, d_.clones.List(node, cookie, kBatch));
    for (const NamedEntry& entry : entries) {
      ListedName listed{entry.record.name, entry.record.inode, entry.record.type, entry.slot,
                        nullptr};
      Entry full;
      if (plus) {
        ASSIGN_OR_RETURN(const InodeRecord record, d_.tree.Inode(entry.record.inode));
        full = EntryOfLocked(entry.record.inode, record);
        listed.entry = &full;
      }
      if (!sink(listed)) {
        if (plus && --lookups_[entry.record.inode] == 0) lookups_.erase(entry.record.inode);
        return Status();
      }
      cookie = entry.slot;
    }
    if (entries.size() < kBatch) return Status();
  }
}

void LiveNodes::ReleaseDirectory(NodeId, HandleId) {}

Status LiveNodes::FsyncDirectory(NodeId, HandleId, bool) {
  RETURN_IF_ERROR(Syncable());
  return d_.tree.catalog().SyncLog();
}

}  // namespace varve
