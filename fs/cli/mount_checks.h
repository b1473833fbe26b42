// What can be known before a store is mounted, said in sentences.
//
// Threads: free functions.
#pragma once

#include "fs/cli/mount_options.h"
#include "store/base/result.h"

namespace varve {

// Makes the request's paths absolute and refuses what cannot work: a mount point
// that is missing, no directory or in use, a store that is mounted already or lies in
// its own mount, a machine without FUSE. A dead mount at the mount point, and those of
// the store elsewhere, are taken away, and that is said. Waits for a daemon that is
// still finishing with the store.
Status PrepareMount(MountRequest* request);

}  // namespace varve
