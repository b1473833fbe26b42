// Where the processes of a mount log.
//
// Threads: before the process starts others.
#pragma once

#include <string>

#include "fs/cli/mount_options.h"

namespace varve {

// STORE/varve.log, or what -o log says.
std::string MountLogPath(const MountRequest& request);

// To that file and to syslog; in the foreground to stderr too. Without the file if it
// cannot be opened. REQUIRES: the store is initialised, for it must be empty before.
void StartMountLog(const MountRequest& request);
// The same, but to the file only if it is there already.
void ContinueMountLog(const MountRequest& request);

}  // namespace varve
