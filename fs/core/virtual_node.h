// One thing below `.varve`: a directory, a file or a symbolic link that is made up.
//
// A virtual node keeps what it stands for (a directory's inode, a name, a number)
// and no state; every answer is read from the index anew. What the kernel knows of
// it (id, lookups, open files) is VirtualNodes' business (virtual_nodes.h), and so
// is the permission to search and list directories.
//
// A new entry of `.varve` is a class here and a row in virtual_control.cc's table.
//
// Threads: all methods may be called concurrently.
// Errors:  as the system call shall fail; the defaults say "not that kind of thing".
#pragma once

#include <sys/stat.h>
#include <sys/statvfs.h>

#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "fs/core/content_opener.h"
#include "fs/core/history.h"
#include "fs/core/live_lookup.h"
#include "fs/core/node_ops.h"
#include "index/catalog.h"
#include "store/base/result.h"

namespace varve {

// For how long the kernel may keep what cannot change: a day, renewed by then.
inline constexpr int64_t kImmutableValidNs = 24LL * 3600 * 1'000'000'000;
// For how long it may keep what walking a path asks again and again and what hardly
// ever changes: the directories, which the live directory guards with its current
// mode, and the name of a version.
inline constexpr int64_t kSecondNs = 1'000'000'000;

class DirectoryCapture;
class FrozenNodes;

// What virtual nodes read from; all of it outlives them.
struct VirtualContext {
  Catalog& catalog;
  LiveLookup& live;
  VersionReader& contents;
  std::function<std::string()> status_json;
  std::function<Result<struct statvfs>()> filesystem_space;
  // Of the directories' history. Without them there is no `.varve/history`.
  FrozenNodes* frozen = nullptr;
  DirectoryCapture* capture = nullptr;
};

struct VirtualName {
  std::string name;
  mode_t type = 0;  // S_IFMT bits
};

// An open virtual file.
class VirtualFile {
 public:
  virtual ~VirtualFile() = default;
  virtual Result<ReadReply> Read(uint64_t offset, size_t size) = 0;
  virtual Result<uint64_t> Seek(uint64_t offset, int whence) = 0;
};

struct OpenedVirtual {
  std::unique_ptr<VirtualFile> file;
  bool keep_cache = false;
  bool direct_io = false;
};

class VirtualNode {
 public:
  virtual ~VirtualNode() = default;

  // All but st_ino. Fails with ENOENT when there is no such thing, or no longer.
  virtual Result<Attributes> GetAttributes() = 0;
  // Tells apart different things that have had the same path: they are different
  // inodes to the kernel, which may have pages of the earlier one.
  virtual uint64_t generation() const { return 0; }
  // For how long the kernel may believe that the name stands for this thing.
  virtual int64_t name_valid_ns() const { return 0; }

  // Directories. What Lookup() returns need not exist: its attributes tell.
  virtual Result<std::shared_ptr<VirtualNode>> Lookup(std::string_view name);
  virtual Result<std::vector<VirtualName>> List();
  // Makes or removes a name in a directory; EROFS where that has no meaning.
  virtual Status MakeDirectory(std::string_view name);
  virtual Status RemoveDirectory(std::string_view name);
  // Doors: the node of another kind that this name leads to, with one lookup counted.
  virtual Result<std::optional<Entry>> Enter() { return std::optional<Entry>(); }
  // Symbolic links.
  virtual Result<std::string> ReadLink();
  // Files. Checks whether `caller` may read it.
  virtual Result<OpenedVirtual> Open(const Caller& caller);
  // Fails with ENODATA.
  virtual Result<std::string> GetXattr(std::string_view name);
};

// A directory below `.varve` of the live directory `directory`: it has the owner of
// that one and its mode without write permission, so who may search or list one
// may search or list the other.
class VirtualDirectory : public VirtualNode {
 public:
  VirtualDirectory(const VirtualContext& context, InodeNumber directory)
      : context_(context), directory_(directory) {}
  Result<Attributes> GetAttributes() override;

 protected:
  // Fails with ENOENT once it is removed.
  Result<InodeRecord> Directory() const;

  const VirtualContext& context_;
  const InodeNumber directory_;
};

// True when a lookup failed because the thing is gone, not because something broke.
bool IsGone(const Status& status);

// The attributes of a symbolic link of this length, owned as `directory` is.
Attributes SymlinkAttributes(const InodeRecord& directory, size_t target_bytes);

// The path of a directory from the mount's root, "" for the root itself; for messages.
std::string DirectoryPath(LiveLookup& live, InodeNumber directory);

}  // namespace varve
