#include "fs/fuse/fast_paths.h"

#include <linux/capability.h>
#include <linux/io_uring.h>
#include <linux/magic.h>
#include <sys/syscall.h>
#include <sys/vfs.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <fstream>

#include "store/base/unique_fd.h"

namespace varve {
namespace {

bool HasCapability(unsigned capability) {
  __user_cap_header_struct header{_LINUX_CAPABILITY_VERSION_3, 0};
  __user_cap_data_struct data[_LINUX_CAPABILITY_U32S_3]{};
  if (syscall(SYS_capget, &header, data) != 0) return false;
  return (data[CAP_TO_INDEX(capability)].effective & CAP_TO_MASK(capability)) != 0;
}

}  // namespace

ReasonNot WhyNoPassthrough() {
  return HasCapability(CAP_SYS_ADMIN) ? "" : "the daemon has no CAP_SYS_ADMIN (not root)";
}

ReasonNot WhyNoIoUring() {
  std::ifstream parameter("/sys/module/fuse/parameters/enable_uring");
  std::string value;
  if (!(parameter >> value)) return "this kernel has no FUSE over io_uring (6.14 has)";
  if (value != "Y" && value != "1") {
    return "the kernel parameter fuse.enable_uring is off";
  }
  io_uring_params params{};
  const UniqueFd ring(static_cast<int>(syscall(SYS_io_uring_setup, 1, &params)));
  if (!ring.valid()) {
    return std::string("the daemon may not set up an io_uring (") + std::strerror(errno) + ")";
  }
  return "";
}

bool IsStacked(const std::string& path) {
  struct statfs info {};
  if (statfs(path.c_str(), &info) != 0) return false;
  constexpr auto kEcryptfs = 0xf15f;
  return info.f_type == OVERLAYFS_SUPER_MAGIC || info.f_type == FUSE_SUPER_MAGIC ||
         info.f_type == kEcryptfs;
}

}  // namespace varve
