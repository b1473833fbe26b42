#include "fs/cli/store_lock.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <unistd.h>

#include <array>
#include <chrono>
#include <cstdlib>
#include <cstring>
#include <fstream>
#include <thread>

#include "fs/cli/mount_point.h"
#include "fs/cli/output.h"
#include "store/base/clock.h"
#include "store/base/unique_fd.h"

namespace varve {
namespace {

// "PID MOUNTPOINT\n" or "PID fsck\n"; the writer may be in the middle of it.
StoreHolder ParseHolder(std::string_view line) {
  StoreHolder holder;
  const std::string text(line.substr(0, line.find('\n')));
  char* end = nullptr;
  holder.pid = static_cast<pid_t>(std::strtol(text.c_str(), &end, 10));
  while (*end == ' ') ++end;
  if (*end == '/') holder.mount_point = end;
  return holder;
}

}  // namespace

Result<std::optional<StoreHolder>> FindStoreHolder(const std::string& store_path) {
  const std::string path = store_path + "/lock";
  const UniqueFd file(open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NOFOLLOW));
  if (!file.valid()) {
    if (errno == ENOENT || errno == ENOTDIR) return std::optional<StoreHolder>();
    return Status::Errno(errno, fmt::format("{} cannot be opened: {}", path, strerror(errno)));
  }
  struct flock lock {};
  lock.l_type = F_WRLCK;
  lock.l_whence = SEEK_SET;
  if (fcntl(file.get(), F_OFD_GETLK, &lock) != 0) {
    return Status::Errno(errno, fmt::format("{}: {}", path, strerror(errno)));
  }
  if (lock.l_type == F_UNLCK) return std::optional<StoreHolder>();
  std::array<char, 4096 + 32> line{};
  const ssize_t size = pread(file.get(), line.data(), line.size(), 0);
  return std::optional<StoreHolder>(
      ParseHolder({line.data(), static_cast<size_t>(size > 0 ? size : 0)}));
}

bool IsStillMounted(const StoreHolder& holder) {
  if (holder.pid <= 0 || holder.mount_point.empty()) return false;
  for (const Mount& mount : ListMounts(fmt::format("/proc/{}/mountinfo", holder.pid))) {
    if (mount.root == holder.mount_point) return true;
  }
  return false;
}

Result<bool> WaitForStore(const std::string& store_path, int64_t timeout_ns) {
  SystemClock clock;
  const int64_t start_ns = clock.MonotonicNs();
  ProgressBar progress("waiting");
  for (;;) {
    ASSIGN_OR_RETURN(const std::optional<StoreHolder> holder, FindStoreHolder(store_path));
    if (!holder) return true;
    if (IsStillMounted(*holder)) return false;
    const int64_t waited_ns = clock.MonotonicNs() - start_ns;
    if (timeout_ns >= 0 && waited_ns >= timeout_ns) return false;
    progress.Update(0, 0, fmt::format("for process {} to store what is pending", holder->pid));
    std::this_thread::sleep_for(std::chrono::milliseconds(waited_ns < 200'000'000 ? 5 : 50));
  }
}

}  // namespace varve
