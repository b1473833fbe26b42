// Which VarveFS mount a path lies in, from /proc/self/mountinfo.
//
// Threads: free functions.
// Errors:  kNotFound with a sentence when the path is in no VarveFS mount; nothing
//          here touches the mount itself, so a dead one does not hang or fail it.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "store/base/result.h"

namespace varve {

struct Mount {
  std::string root;   // where it is mounted, absolute
  std::string store;  // the store's directory, absolute
};

struct MountedPath {
  Mount mount;
  std::string relative;  // the path below the mount's root; "" is the root itself
};

// The mount that `path` lies in. The last component need not exist; symbolic links
// in the others are followed.
Result<MountedPath> FindMount(const std::string& path);
// All VarveFS mounts that a process sees, in the order they were mounted; none if
// it is gone or another user's.
std::vector<Mount> ListMounts(const std::string& mountinfo = "/proc/self/mountinfo");

// Is this one there, dead or not?
bool IsMounted(const Mount& mount);

// `path` made absolute and free of ".", ".." and symbolic links, without asking a
// mount that may be dead: what cannot be resolved stays as it is written.
std::string AbsolutePath(const std::string& path);

// The octal escapes of /proc/self/mountinfo (\040 and the like).
std::string UnescapeMountinfo(std::string_view field);

// Is `path` the directory `folder` or below it? Both absolute and normal.
bool LiesIn(std::string_view path, std::string_view folder);

inline constexpr std::string_view kFilesystemType = "fuse.varvefs";

}  // namespace varve
