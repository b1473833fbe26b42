// The kernel's requests, each decoded and passed to one method of the core.
//
// Threads: libfuse calls them from its own threads, concurrently.
// Errors:  noexcept; see Request.
#pragma once

#include "fs/fuse/libfuse.h"

namespace varve {

// libfuse's user data is a HandlerContext.
fuse_lowlevel_ops MakeHandlers();

// Parts of it, one for each file of handlers.
void SetNameHandlers(fuse_lowlevel_ops* handlers);
void SetFileHandlers(fuse_lowlevel_ops* handlers);
void SetDirectoryHandlers(fuse_lowlevel_ops* handlers);
void SetAttributeHandlers(fuse_lowlevel_ops* handlers);

}  // namespace varve
