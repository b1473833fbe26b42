// Puts a mount into the background, and keeps it alive if asked to.
//
// Threads: called from main's only thread.
#pragma once

#include "fs/cli/exit_code.h"
#include "fs/cli/mount_options.h"

namespace varve {

// Mounts as `request` says: in the foreground until it is unmounted, otherwise in a
// daemon, and then this returns when the mount is live. Prints why it failed.
//
// With `supervise` the daemon is the child of a process that only waits for it: when
// it dies by a signal or fails, the dead mount is taken away and the store mounted
// again, within a second plus the time recovery takes.
ExitCode RunMount(const MountRequest& request);

}  // namespace varve
