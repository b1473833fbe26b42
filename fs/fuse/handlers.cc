#include "fs/fuse/handlers.h"

#include "fs/fuse/request.h"

namespace varve {
namespace {

void Init(void* user_data, fuse_conn_info* connection) noexcept {
  static_cast<HandlerContext*>(user_data)->on_init(connection);
}

}  // namespace

fuse_lowlevel_ops MakeHandlers() {
  // What stays null is answered by the kernel: POSIX, OFD and flock locks (getlk,
  // setlk, flock), permissions (access), poll; ioctl fails with ENOTTY.
  fuse_lowlevel_ops handlers{};
  handlers.init = Init;
  SetNameHandlers(&handlers);
  SetFileHandlers(&handlers);
  SetDirectoryHandlers(&handlers);
  SetAttributeHandlers(&handlers);
  return handlers;
}

}  // namespace varve
