// The node operations of everything below `.varve`.
//
// The live tree asks EnterDirectory() when `.varve` is looked up in one of its
// directories; from there on the kernel talks to this class, because the kind is
// part of the node's id. Ids are made of a hash of the path, so a path has the
// same inode number each time it is looked up; they are known until the kernel has
// forgotten all its lookups. All of it is read-only: what changes something is
// EROFS, which is what NodeOps answers; only a node may allow making directories.
//
// Threads:    all methods may be called concurrently. No lock is held while a
//             node works.
// Permission: search and listing as the live directory allows them now; opening as
//             the node decides. All are checked here, because the kernel may have
//             believed an answer of before.
#pragma once

#include <atomic>
#include <functional>
#include <memory>
#include <string>
#include <unordered_map>

#include "fs/core/node_ops.h"
#include "fs/core/virtual_node.h"
#include "store/base/mutex.h"

namespace varve {

class VirtualNodes final : public NodeOps {
 public:
  explicit VirtualNodes(VirtualContext context) : context_(std::move(context)) {}

  // The `.varve` of a live directory; counts one lookup.
  Result<Entry> EnterDirectory(const Caller& caller, InodeNumber directory);

  Result<Entry> Lookup(const Caller& caller, NodeId parent, std::string_view name) override;
  void Forget(NodeId node, uint64_t lookups) override;
  Result<Attributes> GetAttributes(NodeId node, std::optional<HandleId> handle) override;
  Result<std::string> ReadLink(NodeId node) override;
  Result<Entry> MakeDirectory(const Caller& caller, NodeId parent, std::string_view name,
                              mode_t mode) override;
  Status RemoveDirectory(const Caller& caller, NodeId parent, std::string_view name) override;
  Result<Opened> Open(const Caller& caller, NodeId node, int flags) override;
  Result<ReadReply> Read(NodeId node, HandleId handle, uint64_t offset, size_t size) override;
  Status Write(NodeId node, HandleId handle, uint64_t offset, ByteView bytes,
               bool clear_set_id) override;
  void Release(NodeId node, HandleId handle) override;
  Result<uint64_t> Seek(NodeId node, HandleId handle, uint64_t offset, int whence) override;
  Result<Opened> OpenDirectory(const Caller& caller, NodeId node) override;
  Status ReadDirectory(const Caller& caller, NodeId node, HandleId handle, uint64_t cookie,
                       bool plus, const ListingSink& sink) override;
  void ReleaseDirectory(NodeId node, HandleId handle) override;
  Result<std::string> GetXattr(const Caller& caller, NodeId node, std::string_view name) override;
  Result<struct statvfs> StatFilesystem() override;

  // Nodes that the kernel knows. For tests and counters.
  size_t known() const;

 private:
  struct Known {
    std::shared_ptr<VirtualNode> node;
    std::string path;  // from the live directory's number on: "17/versions/a.pt/0001/42"
    uint64_t lookups = 0;
  };
  struct Listing {
    Mutex mutex;
    std::vector<VirtualName> names GUARDED_BY(mutex);
    bool filled GUARDED_BY(mutex) = false;
  };

  Result<Known> Find(NodeId node) const;
  static std::string PathOf(const Known& directory, std::string_view name, const VirtualNode& node);
  // Gives `node` an id, counts one lookup and answers with its attributes. Fails
  // with ENOENT if there is no such thing.
  Result<Entry> Remember(std::shared_ptr<VirtualNode> node, std::string path);
  // The same, or the node of another kind that it is the door to.
  Result<Entry> Arrive(std::shared_ptr<VirtualNode> node, std::string path);
  // The id of a path, whether it is known or not.
  NodeId IdOf(const std::string& path) const REQUIRES_SHARED(mutex_);
  Result<std::shared_ptr<VirtualFile>> OpenFile(HandleId handle) const;
  // Gives one name to the sink; false when it is full.
  bool ListOne(const Known& directory, const VirtualName& name, uint64_t next_cookie, bool plus,
               const ListingSink& sink);

  // Constant after construction.
  const VirtualContext context_;

  std::atomic<HandleId> last_handle_ = 0;

  mutable SharedMutex mutex_;
  std::unordered_map<NodeId, Known> known_ GUARDED_BY(mutex_);
  std::unordered_map<HandleId, std::shared_ptr<VirtualFile>> files_ GUARDED_BY(mutex_);
  std::unordered_map<HandleId, std::shared_ptr<Listing>> listings_ GUARDED_BY(mutex_);
};

}  // namespace varve
