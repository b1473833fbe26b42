#include "fs/cli/dead_mount.h"

#include <fmt/format.h>
#include <sys/statvfs.h>

#include <cerrno>

#include "fs/cli/mount_point.h"
#include "fs/cli/output.h"
#include "fs/fuse/unmount.h"

namespace varve {
namespace {

Status TakeAway(const std::string& root) {
  RETURN_IF_ERROR(Unmount(root, {.lazy = true}));
  PrintNote(fmt::format("took away the dead mount at {}", Printable(root)));
  return Status();
}

}  // namespace

bool IsDeadMountError(int os_errno) {
  return os_errno == ENOTCONN || os_errno == ECONNABORTED || os_errno == ESHUTDOWN;
}

bool IsDead(const std::string& path) {
  // The kernel may know a dead mount's root from before and answer stat(2) by
  // itself; statvfs(2) always asks the daemon.
  struct statvfs space {};
  return statvfs(path.c_str(), &space) != 0 && IsDeadMountError(errno);
}

Status RemoveDeadMount(const std::string& path) {
  const Result<MountedPath> mounted = FindMount(path);
  if (!mounted.ok()) {
    return Status(
        Code::kInvalid,
        fmt::format("the mount at {} is dead, and it is none of VarveFS; unmount it first",
                    Printable(path)));
  }
  const Status taken = TakeAway(mounted->mount.root);
  if (taken.ok()) return Status();
  return Status(Code::kInvalid,
                fmt::format("the mount at {} is dead and could not be taken away: {}",
                            Printable(mounted->mount.root), taken.ToString()));
}

void RemoveDeadMountsOf(const std::string& store_path) {
  for (const Mount& mount : ListMounts()) {
    // Another user's cannot be taken away, and does no harm to this one.
    if (mount.store == store_path && IsDead(mount.root)) static_cast<void>(TakeAway(mount.root));
  }
}

}  // namespace varve
