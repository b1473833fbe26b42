// Which of the kernel's fast paths this process may use, and why not the others.
//
// Threads: free functions.
#pragma once

#include <string>

namespace varve {

// "" means yes; otherwise the reason, as a part of a sentence.
using ReasonNot = std::string;

// Passthrough needs CAP_SYS_ADMIN. Whether the kernel knows it, INIT says.
ReasonNot WhyNoPassthrough();
// FUSE over io_uring needs a kernel that has it, switched on, and a process that
// may set up a ring.
ReasonNot WhyNoIoUring();

// True when `path` lies on a filesystem that is itself stacked on others; backing
// files there need one more level of stacking.
bool IsStacked(const std::string& path);

}  // namespace varve
