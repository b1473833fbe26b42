// A Volume in memory, for tests of the adapter: a plain filesystem without versions.
//
// Names and attributes live in memory, the bytes of files in unlinked files of one
// directory, so that passthrough and replies from descriptors are real. It checks no
// permissions; it counts lookups and handles, so that a test can see leaks.
//
// Threads: all methods may be called concurrently; one mutex.
#pragma once

#include <sys/stat.h>

#include <atomic>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <unordered_map>

#include "fs/core/volume.h"
#include "store/base/mutex.h"
#include "store/base/unique_fd.h"

namespace varve::testing {

class FakeVolume final : public Volume, public NodeOps {
 public:
  // `folder` is where the bytes of files go. Passthrough as the mount has it.
  FakeVolume(std::string folder, KernelChannel& kernel);

  // What a test looks at.
  MountFacts facts() const;
  uint64_t lookups() const;  // that the kernel has not forgotten
  size_t open_handles() const;
  // Reads answer from memory instead of a descriptor.
  void ReplyFromMemory(bool on) { from_memory_ = on; }
  Caller last_caller() const;

  // Volume.
  NodeOps& Nodes(NodeId) override { return *this; }
  void SetMountFacts(const MountFacts& facts) override;
  void Disconnect() override {}
  Status Drain(int64_t) override { return Status(); }
  std::string StatusJson() override { return "{}"; }

  // NodeOps.
  Result<Entry> Lookup(const Caller& caller, NodeId parent, std::string_view name) override;
  void Forget(NodeId node, uint64_t lookups) override;
  Result<Attributes> GetAttributes(NodeId node, std::optional<HandleId> handle) override;
  Result<Attributes> SetAttributes(const Caller& caller, NodeId node, const AttributeChange& change,
                                   std::optional<HandleId> handle) override;
  Result<std::string> ReadLink(NodeId node) override;
  Result<Entry> MakeNode(const Caller& caller, NodeId parent, std::string_view name, mode_t mode,
                         dev_t device) override;
  Result<Entry> MakeDirectory(const Caller& caller, NodeId parent, std::string_view name,
                              mode_t mode) override;
  Result<Entry> MakeSymlink(const Caller& caller, NodeId parent, std::string_view name,
                            std::string_view target) override;
  Result<Entry> MakeLink(const Caller& caller, NodeId node, NodeId parent,
                         std::string_view name) override;
  Status RemoveFile(const Caller& caller, NodeId parent, std::string_view name) override;
  Status RemoveDirectory(const Caller& caller, NodeId parent, std::string_view name) override;
  Status Rename(const Caller& caller, NodeId parent, std::string_view name,
                const RenameTarget& target) override;
  Result<Created> Create(const Caller& caller, NodeId parent, std::string_view name, mode_t mode,
                         int flags) override;
  Result<Created> CreateUnnamed(const Caller& caller, NodeId parent, mode_t mode,
                                int flags) override;
  Result<Opened> Open(const Caller& caller, NodeId node, int flags) override;
  Result<ReadReply> Read(NodeId node, HandleId handle, uint64_t offset, size_t size) override;
  Status Write(NodeId node, HandleId handle, uint64_t offset, ByteView bytes,
               bool clear_set_id) override;
  Status Flush(NodeId, HandleId) override { return Status(); }
  void Release(NodeId node, HandleId handle) override;
  Status Fsync(NodeId node, HandleId handle, bool data_only) override;
  Status Allocate(NodeId node, HandleId handle, int mode, const FileRange& range,
                  bool clear_set_id) override;
  Result<uint64_t> Seek(NodeId node, HandleId handle, uint64_t offset, int whence) override;
  Result<size_t> CopyRange(const CopySource& source, NodeId node, HandleId handle, uint64_t offset,
                           size_t size, bool clear_set_id) override;
  Result<Opened> OpenDirectory(const Caller& caller, NodeId node) override;
  Status ReadDirectory(const Caller& caller, NodeId node, HandleId handle, uint64_t cookie,
                       bool plus, const ListingSink& sink) override;
  void ReleaseDirectory(NodeId node, HandleId handle) override;
  Status FsyncDirectory(NodeId, HandleId, bool) override { return Status(); }
  Result<std::string> GetXattr(const Caller& caller, NodeId node, std::string_view name) override;
  Status SetXattr(const Caller& caller, NodeId node, std::string_view name, ByteView value,
                  int flags) override;
  Result<std::string> ListXattr(const Caller& caller, NodeId node) override;
  Status RemoveXattr(const Caller& caller, NodeId node, std::string_view name) override;
  Result<struct statvfs> StatFilesystem() override;

 private:
  struct Dirent {
    NodeId node = 0;
    uint64_t cookie = 0;
  };
  struct Node {
    struct stat stat {};
    std::string target;
    std::map<std::string, Dirent, std::less<>> children;
    NodeId parent = 0;
    std::map<std::string, std::string, std::less<>> xattrs;
    UniqueFd bytes;
    uint64_t lookups = 0;
    size_t handles = 0;
    int32_t backing_id = 0;
  };

  Node* Find(NodeId node) REQUIRES(mutex_);
  Result<NodeId> Child(NodeId parent, std::string_view name) REQUIRES(mutex_);
  Result<Entry> Add(const Caller& caller, NodeId parent, std::string_view name, mode_t mode)
      REQUIRES(mutex_);
  NodeId AddNode(const Caller& caller, NodeId parent, mode_t mode) REQUIRES(mutex_);
  Entry EntryOf(NodeId node) REQUIRES(mutex_);
  Attributes AttributesOf(NodeId node) REQUIRES(mutex_);
  Opened OpenNode(NodeId node) REQUIRES(mutex_);
  void DropIfUnused(NodeId node) REQUIRES(mutex_);
  int DescriptorOf(NodeId node);

  const std::string folder_;
  KernelChannel& kernel_;
  std::atomic<bool> from_memory_{false};

  mutable Mutex mutex_;
  std::unordered_map<NodeId, Node> nodes_ GUARDED_BY(mutex_);
  NodeId next_node_ GUARDED_BY(mutex_) = kRootNode;
  uint64_t next_cookie_ GUARDED_BY(mutex_) = 3;  // 1 and 2 follow "." and ".."
  MountFacts facts_ GUARDED_BY(mutex_);
  Caller last_caller_ GUARDED_BY(mutex_);
};

}  // namespace varve::testing
