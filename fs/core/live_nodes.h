// The live tree: what users create, change and remove.
//
// Every change is validated, written to the catalog as one batch, and only then
// visible; so after a crash it has happened or not. Bytes are LiveFiles' business.
//
// Threads:    all methods may be called concurrently. Tree::mutex() is taken for
//             names and attributes; bytes move without it.
// Permission: mode bits are checked by the kernel (default_permissions).
#pragma once

#include <atomic>
#include <functional>
#include <unordered_map>

#include "fs/core/checkpoint_set.h"
#include "fs/core/clones.h"
#include "fs/core/directory_capture.h"
#include "fs/core/frozen_nodes.h"
#include "fs/core/live_files.h"
#include "fs/core/live_lookup.h"
#include "fs/core/path_walk.h"
#include "fs/core/purge_report.h"
#include "fs/core/seals.h"
#include "fs/core/virtual_nodes.h"

namespace varve {

class LiveNodes final : public NodeOps, public LiveLookup {
 public:
  struct Dependencies {
    Tree& tree;
    LiveFiles& files;
    StageArea& stages;
    HistoryWriter& history;
    Clones& clones;
    Disk& disk;
    Clock& clock;
    // `setfattr -n user.varve.sync` on anything below the mount.
    // `everything`: pending staging files are flushed before it returns.
    std::function<Status(bool everything)> hurry;
    // `setfattr -n user.varve.gc`: what it shall be like.
    std::function<Status(std::string_view options)> collect;
    // `setfattr -n user.varve.scrub`, and what getfattr answers.
    std::function<Status(std::string_view options)> scrub;
    std::function<std::string()> scrub_report;
    // `setfattr -n user.varve.purge`, and what getfattr answers.
    std::function<void(PurgeRequest, bool dry_run)> purge;
    std::function<std::string()> purge_report;
    // The operations of a node of any kind.
    std::function<NodeOps&(NodeId)> nodes;
    std::string mount_point;
  };
  explicit LiveNodes(const Dependencies& dependencies)
      : d_(dependencies), seals_(dependencies.tree) {}
  Status LoadSeals() { return seals_.Load(); }
  void SetVirtualNodes(VirtualNodes* nodes) { virtual_ = nodes; }
  void SetDirectoryCapture(DirectoryCapture* capture) { capture_ = capture; }
  void SetFrozenNodes(FrozenNodes* frozen) { frozen_ = frozen; }
  // A failed flush of the store: nothing is changed any more until it is reopened.
  void Fence(const std::string& reason);
  std::string fence_reason();
  bool fenced() const { return fenced_ || d_.tree.catalog().fenced(); }

  // What was removed while it was open when the last mount ended.
  Status RemoveOrphansLocked();
  // What nobody knows any more goes now.
  void RemoveForgotten();

  // live_names.cc
  Result<Entry> Lookup(const Caller& caller, NodeId parent, std::string_view name) override;
  void Forget(NodeId node, uint64_t lookups) override;
  Result<Entry> MakeNode(const Caller& caller, NodeId parent, std::string_view name, mode_t mode,
                         dev_t device) override;
  Result<Entry> MakeDirectory(const Caller& caller, NodeId parent, std::string_view name,
                              mode_t mode) override;
  Result<Entry> MakeSymlink(const Caller& caller, NodeId parent, std::string_view name,
                            std::string_view target) override;
  Result<Created> Create(const Caller& caller, NodeId parent, std::string_view name, mode_t mode,
                         int flags) override;
  Result<Created> CreateUnnamed(const Caller& caller, NodeId parent, mode_t mode,
                                int flags) override;

  // live_links.cc
  Result<Entry> MakeLink(const Caller& caller, NodeId node, NodeId parent,
                         std::string_view name) override;
  Status RemoveFile(const Caller& caller, NodeId parent, std::string_view name) override;
  Status RemoveDirectory(const Caller& caller, NodeId parent, std::string_view name) override;

  // live_rename.cc
  Status Rename(const Caller& caller, NodeId parent, std::string_view name,
                const RenameTarget& target) override;

  // live_attributes.cc
  Result<Attributes> GetAttributes(NodeId node, std::optional<HandleId> handle) override;
  Result<Attributes> SetAttributes(const Caller& caller, NodeId node, const AttributeChange& change,
                                   std::optional<HandleId> handle) override;
  Result<std::string> ReadLink(NodeId node) override;
  Result<struct statvfs> StatFilesystem() override;

  // live_xattrs.cc
  Result<std::string> GetXattr(const Caller& caller, NodeId node, std::string_view name) override;
  Status SetXattr(const Caller& caller, NodeId node, std::string_view name, ByteView value,
                  int flags) override;
  Result<std::string> ListXattr(const Caller& caller, NodeId node) override;
  Status RemoveXattr(const Caller& caller, NodeId node, std::string_view name) override;

  // live_io.cc
  Result<Opened> Open(const Caller& caller, NodeId node, int flags) override;
  Result<ReadReply> Read(NodeId node, HandleId handle, uint64_t offset, size_t size) override;
  Status Write(NodeId node, HandleId handle, uint64_t offset, ByteView bytes,
               bool clear_set_id) override;
  Status Flush(NodeId node, HandleId handle) override;
  void Release(NodeId node, HandleId handle) override;
  Status Fsync(NodeId node, HandleId handle, bool data_only) override;
  Status Allocate(NodeId node, HandleId handle, int mode, const FileRange& range,
                  bool clear_set_id) override;
  Result<uint64_t> Seek(NodeId node, HandleId handle, uint64_t offset, int whence) override;
  Result<size_t> CopyRange(const CopySource& source, NodeId node, HandleId handle, uint64_t offset,
                           size_t size, bool clear_set_id) override;

  // live_directories.cc
  Result<Opened> OpenDirectory(const Caller& caller, NodeId node) override;
  Status ReadDirectory(const Caller& caller, NodeId node, HandleId handle, uint64_t cookie,
                       bool plus, const ListingSink& sink) override;
  void ReleaseDirectory(NodeId node, HandleId handle) override;
  Status FsyncDirectory(NodeId node, HandleId handle, bool data_only) override;

  // LiveLookup.
  Result<InodeRecord> Inode(InodeNumber inode) override;
  Result<InodeNumber> Child(InodeNumber directory, std::string_view name) override;
  Result<std::vector<NamedEntry>> Names(InodeNumber directory, uint64_t after_slot,
                                        size_t limit) override;
  Status LookUpAll(InodeNumber directory) override;

 private:
  struct NewNode {
    InodeNumber inode = 0;
    InodeRecord record;
    InodeRecord parent;
    uint64_t slot = 0;
  };

  Result<std::optional<std::string>> StatusAttributeOf(InodeNumber inode, std::string_view name);
  Result<std::vector<SetMember>> MembersLocked(InodeNumber directory);
  // live_seal.cc. EPERM for an inode, or a name in a directory, that a seal protects.
  Status RequireChangeableLocked(InodeNumber inode);
  Status RequireOpenDirectoryLocked(InodeNumber directory);
  Status Seal(const Caller& caller, InodeNumber directory, ByteView value);
  Status Unseal(const Caller& caller, InodeNumber directory);
  // live_clone.cc. `path` is seen from where `directory` lies.
  Status MakeClone(const Caller& caller, InodeNumber directory, std::string_view path);
  Status RequireMayBecomeCloneLocked(InodeNumber directory);
  Status CloneLocked(InodeNumber directory, const CloneRecord& clone);
  static std::string PathInMount(std::string path);
  Status Writable();  // EROFS when fenced
  Status Syncable();  // EIO when fenced: what was flushed in vain cannot be promised later
  // The parent of a new name: a directory that is still linked.
  Result<InodeRecord> ParentLocked(InodeNumber parent);
  // Everything of a new node but its content; nothing is written yet.
  Result<NewNode> PrepareLocked(const Caller& caller, InodeNumber parent, std::string_view name,
                                mode_t mode);
  // Adds the rows of a new node and of its parent.
  Status AppendNew(InodeNumber parent, const NewNode& node, Batch* batch);
  Entry EntryOfLocked(InodeNumber inode, const InodeRecord& record);
  Result<Attributes> AttributesLocked(InodeNumber inode, InodeRecord record);

  // One name less; the inode goes when it was the last one and nobody has it open.
  // Leaves the directory entry itself to the caller.
  Status LoseNameLocked(InodeNumber parent, const NamedEntry& entry, InodeRecord* record,
                        Batch* batch, std::vector<StageId>* dropped);
  // After the batch is applied, not before: a batch that fails drops nothing.
  void UnlinkedLocked(InodeNumber inode, const InodeRecord& record,
                      const std::vector<StageId>& dropped);
  Status AppendRemovalLocked(InodeNumber inode, const InodeRecord& record, Batch* batch,
                             std::vector<StageId>* dropped);
  bool IsForgottenLocked(InodeNumber inode);
  // Removed soon, together with others: a batch for each would cost as much as the unlink.
  void RemoveIfForgottenLocked(InodeNumber inode);
  void RemoveForgottenLocked();
  Status RemoveLinkRowsLocked(InodeNumber inode, InodeRecord* record, const LinkName& gone,
                              Batch* batch);
  Status AppendClearPrivilegesLocked(OpenFile* file, InodeNumber inode, InodeRecord* record,
                                     bool* changed, Batch* batch);

  struct Side;  // of a rename
  Result<Side> SideLocked(InodeNumber parent, std::string_view name);
  Status ReplaceLocked(Side* from, Side* to, Batch* batch, std::vector<StageId>* dropped);
  Status ExchangeLocked(Side* from, Side* to, Batch* batch);
  Status MoveHistoryLocked(const Side& from, const Side& to, Batch* batch);
  // Captures the directories that a rename put into place.
  void CaptureRenamedLocked(const Side& from, const Side& to, bool exchange);

  // Before bytes change by way of the daemon. The capability always goes.
  Status ClearPrivileges(InodeNumber inode, OpenFile& file, bool clear_set_id);
  // One that is not captured goes with its last handle, so only who has a handle may
  // flush it.
  enum class SyncedContents { kCaptured, kAll };
  Status SyncStage(InodeNumber inode, SyncedContents which);
  Status Collect(const Caller& caller, std::string_view options);
  Status Scrub(const Caller& caller, std::string_view options);
  Status AskPurge(const Caller& caller, InodeNumber directory, std::string_view name);
  Status Sync(InodeNumber inode);
  Status ResizeLocked(OpenFile& file, InodeRecord* record, uint64_t size, FileHandle* handle);
  Result<Attributes> ChangeLocked(const Caller& caller, InodeNumber inode,
                                  const AttributeChange& change, OpenFile* file,
                                  InodeRecord record);
  static FileHandle* FileOf(HandleId handle) { return reinterpret_cast<FileHandle*>(handle); }
  void LookedUp(InodeNumber inode);

  Dependencies d_;
  VirtualNodes* virtual_ = nullptr;
  DirectoryCapture* capture_ = nullptr;
  FrozenNodes* frozen_ = nullptr;
  Seals seals_;

  Mutex fence_mutex_;
  std::string fence_reason_ GUARDED_BY(fence_mutex_);
  std::atomic<bool> fenced_ = false;

  // Lookups that the kernel has not forgotten. Guarded by Tree::mutex().
  std::unordered_map<InodeNumber, uint32_t> lookups_;
  std::unordered_map<InodeNumber, bool> orphans_;  // removed, still known or open
  std::vector<InodeNumber> forgotten_;             // those that may go
};

}  // namespace varve
