// The process that keeps a mount alive: it only waits, and starts a daemon when one died.
//
// A daemon that was killed leaves a dead mount behind, where every call fails. That mount
// is the mark of "not unmounted": its successor recovers the store first, and takes the
// dead mount away only when its own can follow at once, so that no program finds the
// bare directory below and writes into it. If the dead mount is gone by then,
// somebody has unmounted it; the successor stores what is pending, and that was it.
//
// Threads: called once, by a process that has no other thread.
// Errors:  what became of each daemon is logged.
#pragma once

#include "fs/cli/exit_code.h"
#include "fs/cli/mount_options.h"
#include "fs/cli/mount_report.h"

namespace varve {

// Returns when the mount has ended for good: it was unmounted, SIGTERM, SIGINT or SIGHUP
// asked for that (they are passed on to the daemon), the first daemon could not mount, or
// so many died one after the other that it is hopeless. Then the dead mount stays, so that
// nobody takes the bare directory for it. The code is that of the last daemon.
ExitCode Supervise(const MountRequest& request, MountReporter reporter);

}  // namespace varve
