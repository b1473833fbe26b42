// The node operations of captured trees: what `.varve/history/v7` leads to.
//
// A frozen node is an inode at a moment, reached through one name in one `history`
// directory; below a clone the moment is that of what was cloned. Names, attributes and links are
// read from the tree as it was (past_tree.h), bytes from the contents that its inodes named.
// Nothing of it can be changed, which is what NodeOps answers. Ids are made of a hash, so a path
// has the same inode number each time, and two names of one inode share one; they are known until
// the kernel has forgotten all its lookups.
//
// Threads:    all methods may be called concurrently. No lock is held while rows or
//             bytes are read.
// Permission: the mode at capture and that of the same live path now must both allow;
//             what is not there any more, only its owner and root may use. All of it
//             is checked here, for every directory on the way.
#pragma once

#include <atomic>
#include <memory>
#include <string>
#include <unordered_map>

#include "fs/core/content_opener.h"
#include "fs/core/live_lookup.h"
#include "fs/core/node_ops.h"
#include "fs/core/past_tree.h"
#include "store/base/mutex.h"

namespace varve {

// A captured directory, and how it was reached.
struct FrozenRoot {
  InodeNumber live = 0;  // the directory whose history it is
  std::string name;      // in `.varve/history`: "v7", or a pin's
  VersionNumber number = 0;
  DirectoryVersionRecord version;
};

class FrozenNodes final : public NodeOps {
 public:
  struct Dependencies {
    Tree& tree;
    LiveLookup& live;
    VersionReader& contents;
    std::function<Result<struct statvfs>()> filesystem_space;
  };
  explicit FrozenNodes(Dependencies dependencies) : d_(std::move(dependencies)) {}

  // The attributes of a captured directory. Fails with ENOENT.
  Result<Attributes> RootAttributes(const FrozenRoot& root) const;
  // The same as a node that the kernel may use; counts one lookup.
  Result<Entry> Enter(const FrozenRoot& root);
  NodeId IdOfRoot(const FrozenRoot& root) const;

  Result<Entry> Lookup(const Caller& caller, NodeId parent, std::string_view name) override;
  void Forget(NodeId node, uint64_t lookups) override;
  Result<Attributes> GetAttributes(NodeId node, std::optional<HandleId> handle) override;
  Result<std::string> ReadLink(NodeId node) override;
  Result<Opened> Open(const Caller& caller, NodeId node, int flags) override;
  Result<ReadReply> Read(NodeId node, HandleId handle, uint64_t offset, size_t size) override;
  void Release(NodeId node, HandleId handle) override;
  Result<uint64_t> Seek(NodeId node, HandleId handle, uint64_t offset, int whence) override;
  Result<Opened> OpenDirectory(const Caller& caller, NodeId node) override;
  Status ReadDirectory(const Caller& caller, NodeId node, HandleId handle, uint64_t cookie,
                       bool plus, const ListingSink& sink) override;
  void ReleaseDirectory(NodeId, HandleId) override {}
  Result<std::string> GetXattr(const Caller& caller, NodeId node, std::string_view name) override;
  Result<std::string> ListXattr(const Caller& caller, NodeId node) override;
  Result<struct statvfs> StatFilesystem() override { return d_.filesystem_space(); }

  // Which inode a directory is, and where: for who makes a clone of it.
  struct Place {
    PastInode inode;
    FrozenRoot root;
    std::string path;
  };
  Result<Place> PlaceOf(NodeId node) const;
  // ENOENT once the version that leads to it is gone. Needs Tree::mutex().
  Status RequireKeptLocked(const FrozenRoot& root) const;

  // Nodes that the kernel knows. For tests and counters.
  size_t known() const;

 private:
  // What never changes of a node, and the way it was reached last.
  struct Node {
    std::shared_ptr<const FrozenRoot> root;
    PastInode inode;
    InodeRecord record;
    std::shared_ptr<const Node> parent;  // null: it is the root itself
    std::string name;                    // in `parent`
  };
  using NodePointer = std::shared_ptr<const Node>;
  struct Known {
    NodePointer node;
    uint64_t lookups = 0;
    bool opened_stored = false;  // what the kernel has cached of it is for good
  };

  PastTree PastOf(const PastInode& inode) const { return PastTree(d_.tree, inode.moment); }
  static PastInode InodeOf(const FrozenRoot& root) {
    return {root.version.inode, root.version.moment};
  }
  Result<NodePointer> Find(NodeId node) const;
  Result<NodePointer> Load(NodePointer parent, const DirentRecord& entry) const;
  NodeId IdOf(const FrozenRoot& root, const PastInode& inode) const REQUIRES_SHARED(mutex_);
  Entry Remember(NodePointer node);
  Attributes AttributesOf(const Node& node, NodeId id) const;
  bool IsStored(const InodeRecord& record) const;
  // The inode that is where `node` was, 0 when nothing of its kind is.
  InodeNumber LiveOf(const Node& node) const;
  // All directories on the way may be searched, and the node itself used as `wanted`.
  Status RequireUse(const Node& node, const Caller& caller, int wanted) const;
  Status RequireBoth(const Node& node, const Caller& caller, int wanted) const;
  std::string PathOf(const Node& node) const;
  // What the status attributes (user.varve.*) tell.
  Result<std::optional<std::string>> FileStatus(const Node& node, std::string_view name) const;
  Result<std::optional<std::string>> DirectoryStatus(const Node& node, std::string_view name) const;

  const Dependencies d_;
  std::atomic<HandleId> last_handle_ = 0;

  mutable SharedMutex mutex_;
  std::unordered_map<NodeId, Known> known_ GUARDED_BY(mutex_);
  // An empty file has no reader.
  std::unordered_map<HandleId, std::shared_ptr<ContentReader>> files_ GUARDED_BY(mutex_);
};

}  // namespace varve
