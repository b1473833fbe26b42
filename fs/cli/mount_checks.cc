#include "fs/cli/mount_checks.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cstring>
#include <fstream>
#include <optional>

#include "fs/cli/dead_mount.h"
#include "fs/cli/mount_point.h"
#include "fs/cli/output.h"
#include "fs/cli/store_lock.h"
#include "fs/fuse/unmount.h"
#include "store/base/unique_fd.h"

namespace varve {
namespace {

Status Refuse(std::string sentence) { return Status(Code::kInvalid, std::move(sentence)); }

Status CheckMountPoint(const std::string& mount_point) {
  const std::string shown = Printable(mount_point);
  struct stat info {};
  const auto look = [&] { return stat(mount_point.c_str(), &info) == 0 ? 0 : errno; };
  int failure = look();
  if (IsDeadMountError(failure) || (failure == 0 && IsDead(mount_point))) {
    RETURN_IF_ERROR(RemoveDeadMount(mount_point));
    failure = look();
  }
  if (failure == ENOENT) return Refuse(fmt::format("the mount point {} does not exist", shown));
  if (failure != 0) {
    return Refuse(fmt::format("the mount point {} cannot be used: {}", shown, strerror(failure)));
  }
  if (!S_ISDIR(info.st_mode)) {
    return Refuse(fmt::format("the mount point {} is not a directory", shown));
  }
  const Result<MountedPath> mounted = FindMount(mount_point);
  if (mounted.ok() && mounted->relative.empty()) {
    return Refuse(
        fmt::format("{} is mounted at {} already", Printable(mounted->mount.store), shown));
  }
  if (geteuid() != 0 && access(mount_point.c_str(), W_OK) != 0) {
    return Refuse(fmt::format("the mount point {} is not yours to write to", shown));
  }
  return Status();
}

Status CheckStorePath(const std::string& store_path, const std::string& mount_point) {
  const std::string shown = Printable(store_path);
  if (LiesIn(store_path, mount_point)) {
    return Refuse(fmt::format("the store {} lies in the mount point {}: it would hide itself",
                              shown, Printable(mount_point)));
  }
  if (LiesIn(mount_point, store_path)) {
    return Refuse(
        fmt::format("the mount point {} lies in the store {}; nobody but VarveFS may put "
                    "anything there",
                    Printable(mount_point), shown));
  }
  if (const Result<MountedPath> inside = FindMount(store_path); inside.ok()) {
    return Refuse(
        fmt::format("the store {} lies in the VarveFS mount {}; it has to be on a local "
                    "disk",
                    shown, Printable(inside->mount.root)));
  }
  struct stat info {};
  if (stat(store_path.c_str(), &info) == 0) {
    if (S_ISDIR(info.st_mode)) return Status();
    return Refuse(fmt::format("the store {} is not a directory", shown));
  }
  if (errno != ENOENT) {
    return Refuse(fmt::format("the store {} cannot be used: {}", shown, strerror(errno)));
  }
  const std::string parent = store_path.substr(0, store_path.rfind('/') + 1);
  if (stat(parent.c_str(), &info) != 0) {
    return Refuse(
        fmt::format("the store {} cannot be created: {} does not exist", shown, Printable(parent)));
  }
  return Status();
}

Status CheckStoreIsFree(const std::string& store_path) {
  for (;;) {
    ASSIGN_OR_RETURN(const std::optional<StoreHolder> holder, FindStoreHolder(store_path));
    if (!holder) return Status();
    const std::string shown = Printable(store_path);
    if (IsStillMounted(*holder)) {
      return Refuse(fmt::format("{} is mounted at {} already (process {})", shown,
                                Printable(holder->mount_point), holder->pid));
    }
    if (holder->mount_point.empty()) {
      return Refuse(fmt::format("{} is in use by process {}", shown, holder->pid));
    }
    // Unmounted, but its daemon still stores what was pending.
    RETURN_IF_ERROR(WaitForStore(store_path, -1).status());
  }
}

bool UserMayAllowOther() {
  std::ifstream file("/etc/fuse.conf");
  for (std::string line; std::getline(file, line);) {
    if (line.starts_with("user_allow_other")) return true;
  }
  return false;
}

Status CheckFuse(bool allow_other) {
  const UniqueFd device(open("/dev/fuse", O_RDWR | O_CLOEXEC));
  if (!device.valid()) {
    if (errno == ENOENT || errno == ENODEV || errno == ENXIO) {
      return Refuse(
          "there is no /dev/fuse: load the kernel module (modprobe fuse), or give the "
          "container the device");
    }
    return Refuse(fmt::format("/dev/fuse cannot be opened: {}", strerror(errno)));
  }
  if (geteuid() == 0) return Status();
  if (FindFusermount().empty()) {
    return Refuse("fusermount3 is not installed (package fuse3); only root can do without it");
  }
  if (allow_other && !UserMayAllowOther()) {
    return Refuse("-o allow_other is for root only, unless /etc/fuse.conf says user_allow_other");
  }
  return Status();
}

}  // namespace

Status PrepareMount(MountRequest* request) {
  request->store_path = AbsolutePath(request->store_path);
  request->mount_point = AbsolutePath(request->mount_point);
  RETURN_IF_ERROR(CheckMountPoint(request->mount_point));
  RETURN_IF_ERROR(CheckStorePath(request->store_path, request->mount_point));
  RETURN_IF_ERROR(CheckFuse(request->allow_other));
  RETURN_IF_ERROR(CheckStoreIsFree(request->store_path));
  RemoveDeadMountsOf(request->store_path);
  return Status();
}

}  // namespace varve
