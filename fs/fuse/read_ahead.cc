#include "fs/fuse/read_ahead.h"

#include <fcntl.h>
#include <unistd.h>

#include <fstream>
#include <sstream>
#include <string_view>

#include "store/base/log.h"
#include "store/base/unique_fd.h"

namespace varve {
namespace {

constexpr std::string_view kReadAheadKib = "1024";

// "0:41" of the newest mount at `mount_point`, from /proc/self/mountinfo.
std::string DeviceOf(const std::string& mount_point) {
  std::ifstream mounts("/proc/self/mountinfo");
  std::string device;
  for (std::string line; std::getline(mounts, line);) {
    std::istringstream fields(line);
    std::string id, parent, number, root, place;
    fields >> id >> parent >> number >> root >> place;
    if (place == mount_point) device = number;
  }
  return device;
}

}  // namespace

void WidenReadAhead(const std::string& mount_point) {
  if (geteuid() != 0) return;
  const std::string device = DeviceOf(mount_point);
  if (device.empty()) return;  // a mount point with a space is escaped there: not worth it
  const std::string path = "/sys/class/bdi/" + device + "/read_ahead_kb";
  const UniqueFd file(open(path.c_str(), O_WRONLY | O_CLOEXEC));
  if (!file.valid() || write(file.get(), kReadAheadKib.data(), kReadAheadKib.size()) !=
                           static_cast<ssize_t>(kReadAheadKib.size()))
    LogInfo("read-ahead stays at the kernel's default: {} cannot be written", path);
}

}  // namespace varve
