// `varve mount`, and the same as a helper of mount(8).
//
// Threads: main's only.
#pragma once

#include <string_view>

#include "fs/cli/exit_code.h"

namespace varve {

// Is this the name that mount(8) calls its helper by?
bool IsMountHelper(std::string_view program);

// `mount.fuse.varvefs STORE MOUNTPOINT [-sfnv] [-t TYPE] [-o OPTIONS]`; returns what
// mount(8) expects: 0, 1 for bad usage, 32 for a failure.
int RunMountHelper(int argument_count, char** arguments);

}  // namespace varve
