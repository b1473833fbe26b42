// Puts a mount into the background.
//
// Threads: called from main's only thread.
#pragma once

#include "fs/cli/exit_code.h"
#include "fs/cli/mount_options.h"

namespace varve {

// Mounts as `request` says: in the foreground until it is unmounted, otherwise in a
// daemon, and then this returns when the mount is live. Prints why it failed.
// With `supervise` a daemon that dies is replaced, see supervisor.h.
ExitCode RunMount(const MountRequest& request);

}  // namespace varve
