// What the kernel can ask of a node, for every kind of node.
//
// A node is what a name resolves to: live (the tree that users change), virtual
// (the `.varve` directories), frozen (a captured tree). Its kind is chosen once, when
// its name is looked up, and is part of its NodeId; from then on the caller talks to
// that kind's NodeOps and nobody asks again. A kind implements what it supports; the
// defaults below answer as a read-only filesystem does.
//
// It does not know FUSE: the adapter in fs/fuse decodes a request, calls one
// method, and replies after it has returned.
//
// Threads:    all methods may be called concurrently, from any thread.
// Errors:     a Status whose os_errno() is what the system call shall return;
//             without one, fs/fuse/errno.h maps the code.
// Permission: the kernel has checked mode bits (mount option default_permissions)
//             for live nodes; a kind that needs more checks the Caller itself.
// Durability: "done" means done for everybody on this mount and for the next
//             mount after the death of this process; Fsync() adds power cuts.
#pragma once

#include <sys/stat.h>
#include <sys/statvfs.h>
#include <sys/types.h>

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "store/base/bytes.h"
#include "store/base/result.h"

namespace varve {

// What the kernel calls a node: an inode number whose top byte is its kind. Live
// ones are inode numbers as users see them; they are never used twice.
using NodeId = uint64_t;
inline constexpr NodeId kRootNode = 1;
inline constexpr unsigned kNodeKindShift = 56;
enum class NodeKind : uint8_t { kLive = 0, kFrozen = 0x20, kVirtual = 0x40 };
inline NodeKind KindOf(NodeId node) { return static_cast<NodeKind>(node >> kNodeKindShift); }

// Who asks. `groups` lists the supplementary groups; it costs a system call, so
// it is asked for only where permissions are checked here.
struct Caller {
  uid_t uid = 0;
  gid_t gid = 0;
  pid_t pid = 0;
  mode_t umask = 0;
  std::function<std::vector<gid_t>()> groups;
};

// Attributes, and for how long the kernel may believe them.
struct Attributes {
  struct stat stat {};
  int64_t valid_ns = 0;
};

// A name's answer. node == 0: the name does not exist, and the kernel may
// remember that for `entry_valid_ns`.
struct Entry {
  NodeId node = 0;
  Attributes attributes;
  int64_t entry_valid_ns = 0;
};

// What SetAttributes() changes. A time without value but with `…_now` is set to now.
struct AttributeChange {
  std::optional<mode_t> mode;
  std::optional<uid_t> uid;
  std::optional<gid_t> gid;
  std::optional<uint64_t> size_bytes;
  std::optional<struct timespec> access_time;
  std::optional<struct timespec> modify_time;
  std::optional<struct timespec> change_time;
  bool access_now = false;
  bool modify_now = false;
  bool clear_set_id = false;  // the kernel's FATTR_KILL_SUIDGID

  bool sets_access() const { return access_time.has_value() || access_now; }
  bool sets_modify() const { return modify_time.has_value() || modify_now; }
};

using HandleId = uint64_t;

struct Opened {
  HandleId handle = 0;
  int32_t backing_id = 0;      // > 0: the kernel passes I/O through to that backing file
  bool keep_cache = false;     // cached pages of earlier opens are still right
  bool direct_io = false;      // bypass the page cache
  bool cache_listing = false;  // directories: the kernel may keep the listing
  bool no_flush = false;       // no FLUSH needed at close
};

struct Created {
  Entry entry;
  Opened opened;
};

// Bytes to send: either `parts` in order, or `size` bytes at `offset` of
// `descriptor`. Both stay valid as long as `keep_alive` lives. A reply that is
// shorter than what was asked for means the end of the file.
struct ReadReply {
  std::vector<ByteView> parts;
  int descriptor = -1;
  uint64_t offset = 0;
  size_t size = 0;  // of `parts` together, or to take from `descriptor`
  std::shared_ptr<const void> keep_alive;

  // A reply that owns its bytes.
  static ReadReply Of(std::string bytes);
};

// One entry of a listing. `entry` is filled for ReadDirectory(plus) only, and counts
// as one lookup of its node if the sink takes it.
struct ListedName {
  std::string_view name;
  NodeId node = 0;
  mode_t type = 0;           // S_IFMT bits
  uint64_t next_cookie = 0;  // where the listing goes on after this entry
  const Entry* entry = nullptr;
};
// False: the buffer is full, this entry was not taken.
using ListingSink = std::function<bool(const ListedName&)>;

struct RenameTarget {
  NodeId parent = 0;
  std::string_view name;
  unsigned flags = 0;  // RENAME_NOREPLACE, RENAME_EXCHANGE
};

struct FileRange {
  uint64_t offset = 0;
  uint64_t size = 0;
};

struct CopySource {
  NodeId node = 0;
  HandleId handle = 0;
  uint64_t offset = 0;
};

class NodeOps {
 public:
  virtual ~NodeOps() = default;

  // Every Entry that is returned with a node counts one lookup of that node.
  virtual Result<Entry> Lookup(const Caller& caller, NodeId parent, std::string_view name) = 0;
  virtual void Forget(NodeId node, uint64_t lookups) = 0;
  // `handle` is the open file it was asked through, if any.
  virtual Result<Attributes> GetAttributes(NodeId node, std::optional<HandleId> handle) = 0;
  virtual Result<Attributes> SetAttributes(const Caller& caller, NodeId node,
                                           const AttributeChange& change,
                                           std::optional<HandleId> handle);
  virtual Result<std::string> ReadLink(NodeId node);

  virtual Result<Entry> MakeNode(const Caller& caller, NodeId parent, std::string_view name,
                                 mode_t mode, dev_t device);
  virtual Result<Entry> MakeDirectory(const Caller& caller, NodeId parent, std::string_view name,
                                      mode_t mode);
  virtual Result<Entry> MakeSymlink(const Caller& caller, NodeId parent, std::string_view name,
                                    std::string_view target);
  virtual Result<Entry> MakeLink(const Caller& caller, NodeId node, NodeId parent,
                                 std::string_view name);
  virtual Status RemoveFile(const Caller& caller, NodeId parent, std::string_view name);
  virtual Status RemoveDirectory(const Caller& caller, NodeId parent, std::string_view name);
  virtual Status Rename(const Caller& caller, NodeId parent, std::string_view name,
                        const RenameTarget& target);

  // `flags` are open(2)'s. O_CREAT and O_EXCL are dealt with by Create().
  virtual Result<Created> Create(const Caller& caller, NodeId parent, std::string_view name,
                                 mode_t mode, int flags);
  virtual Result<Created> CreateUnnamed(const Caller& caller, NodeId parent, mode_t mode,
                                        int flags);  // O_TMPFILE
  virtual Result<Opened> Open(const Caller& caller, NodeId node, int flags) = 0;
  virtual Result<ReadReply> Read(NodeId node, HandleId handle, uint64_t offset, size_t size) = 0;
  // `clear_set_id`: the writer is not privileged to keep suid, sgid and capabilities.
  virtual Status Write(NodeId node, HandleId handle, uint64_t offset, ByteView bytes,
                       bool clear_set_id);
  virtual Status Flush(NodeId node, HandleId handle);
  virtual void Release(NodeId node, HandleId handle) = 0;
  virtual Status Fsync(NodeId node, HandleId handle, bool data_only);
  // `clear_set_id` as for Write().
  virtual Status Allocate(NodeId node, HandleId handle, int mode, const FileRange& range,
                          bool clear_set_id);
  virtual Result<uint64_t> Seek(NodeId node, HandleId handle, uint64_t offset, int whence);
  // Returns how many bytes were copied.
  virtual Result<size_t> CopyRange(const CopySource& source, NodeId node, HandleId handle,
                                   uint64_t offset, size_t size, bool clear_set_id);

  virtual Result<Opened> OpenDirectory(const Caller& caller, NodeId node) = 0;
  // Lists from `cookie` (0: the start) until the sink is full.
  virtual Status ReadDirectory(const Caller& caller, NodeId node, HandleId handle, uint64_t cookie,
                               bool plus, const ListingSink& sink) = 0;
  virtual void ReleaseDirectory(NodeId node, HandleId handle) = 0;
  virtual Status FsyncDirectory(NodeId node, HandleId handle, bool data_only);

  virtual Result<std::string> GetXattr(const Caller& caller, NodeId node, std::string_view name);
  // `flags` are XATTR_CREATE, XATTR_REPLACE.
  virtual Status SetXattr(const Caller& caller, NodeId node, std::string_view name, ByteView value,
                          int flags);
  // Names, each followed by a zero byte.
  virtual Result<std::string> ListXattr(const Caller& caller, NodeId node);
  virtual Status RemoveXattr(const Caller& caller, NodeId node, std::string_view name);
  virtual Result<struct statvfs> StatFilesystem() = 0;
};

}  // namespace varve
