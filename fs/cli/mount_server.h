// One mount in this process, from opening the store to the last drained byte.
//
// Threads: called once, by the thread that main() runs on, before any other thread
//          exists: signals are blocked for all that follow.
#pragma once

#include "fs/cli/exit_code.h"
#include "fs/cli/mount_options.h"
#include "fs/cli/mount_report.h"

namespace varve {

// Serves until the filesystem is unmounted, or SIGTERM, SIGINT or SIGHUP asks for
// that; then stores what is pending: for as long as it takes, but after a signal no
// longer than `request.stop_timeout_seconds`. A second signal, a second or more after
// the first, ends the process at once: what was acknowledged is safe, and the next
// mount finishes it.
//
// Returns kDone when all is stored, kIncomplete when not, kNotMounted if the mount
// never was live, kFailed if the connection to the kernel broke.
// Failures before the mount is live go to `reporter`; without one, to stderr.
ExitCode ServeMount(const MountRequest& request, MountReporter reporter);

}  // namespace varve
