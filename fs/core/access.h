// Permission bits, for what the kernel does not check: it knows one mode of a node,
// but a version is guarded by two, that of its capture and that of the live path.
//
// Threads: free functions.
#pragma once

#include <sys/stat.h>

#include "fs/core/node_ops.h"
#include "store/base/result.h"

namespace varve {

struct Guard {
  mode_t mode = 0;
  uid_t uid = 0;
  gid_t gid = 0;
};

// Whether `caller` has the rights `wanted`, a set of R_OK, W_OK and X_OK, as
// access(2) defines it: one class of bits decides, that of the owner, of the group or
// of others. Root reads, writes and searches everything.
bool Allows(const Guard& guard, const Caller& caller, int wanted);

// Allows() as a Status: EACCES.
Status RequireAccess(const Guard& guard, const Caller& caller, int wanted);

}  // namespace varve
