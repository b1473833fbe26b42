// Lets the kernel read ahead further than a FUSE mount is given by itself.
//
// The kernel caps the read-ahead of a new FUSE mount at 128 KiB, whatever INIT
// answers. Packs are read in larger pieces, and a cold sequential read of a mount
// that asks for 1 MiB at a time is four times as fast. Only root may raise it, and
// only after INIT.
//
// Threads: a free function.
#pragma once

#include <string>

namespace varve {

// Best effort: without the privilege, or the file in /sys, nothing changes.
void WidenReadAhead(const std::string& mount_point);

}  // namespace varve
