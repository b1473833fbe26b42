// Takes a FUSE mount away, with the privilege that the process has.
//
// Threads: free functions.
// Errors:  EBUSY while something is in use there (not if lazy).
#pragma once

#include <string>

#include "store/base/result.h"

namespace varve {

struct UnmountOptions {
  // Detaches it from the tree at once; the rest follows when the last user goes.
  bool lazy = false;
};

// umount2(2), or fusermount3(1) where that is not permitted.
Status Unmount(const std::string& mount_point, UnmountOptions options = {});

// Where fusermount3(1) is, "" if it is not installed.
std::string FindFusermount();

}  // namespace varve
