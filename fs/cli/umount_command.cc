#include <fmt/format.h>
#include <poll.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <CLI/CLI.hpp>
#include <chrono>
#include <cstring>
#include <fstream>
#include <memory>
#include <nlohmann/json.hpp>
#include <optional>
#include <sstream>
#include <string>
#include <thread>

#include "fs/cli/busy.h"
#include "fs/cli/commands.h"
#include "fs/cli/exit_code.h"
#include "fs/cli/mount_point.h"
#include "fs/cli/output.h"
#include "fs/cli/pending.h"
#include "fs/cli/store_lock.h"
#include "fs/fuse/unmount.h"
#include "store/base/clock.h"
#include "store/base/unique_fd.h"

namespace varve {
namespace {

constexpr int64_t kNsPerSecond = 1'000'000'000;
// What does not shrink any more waits for something else, a writer for example: the
// daemon stores it after the mount is gone.
constexpr int64_t kStalledNs = 3 * kNsPerSecond;
constexpr int kLastStepsMs = 2000;  // from letting go of the store to the process's end
constexpr auto kPollInterval = std::chrono::milliseconds(100);

struct UmountRequest {
  std::string path;
  double timeout_seconds = -1;
  bool lazy = false;
  bool json = false;
};

// From the mount's own status; nothing if this user may not read it.
std::optional<Pending> ReadPending(const std::string& mount_point) {
  std::ifstream file(mount_point + "/.varve/status");
  std::ostringstream text;
  text << file.rdbuf();
  return ParsePending(text.str());
}

class Unmounter {
 public:
  Unmounter(const UmountRequest& request, Mount mount)
      : request_(request), mount_(std::move(mount)), start_ns_(clock_.MonotonicNs()) {}

  ExitCode Run();

 private:
  // Waits until nothing is pending, or no more progress is made, or time is up.
  void AwaitDrained();
  ExitCode FinishMounted(const Status& status);
  // Waits until the daemon has let go of the store, and is gone.
  ExitCode AwaitDaemon(UniqueFd daemon);
  ExitCode Finish(ExitCode code, const std::string& sentence);
  int64_t WaitedNs() { return clock_.MonotonicNs() - start_ns_; }
  bool TimeIsUp() {
    return request_.timeout_seconds >= 0 &&
           static_cast<double>(WaitedNs()) >= request_.timeout_seconds * 1e9;
  }

  SystemClock clock_;
  const UmountRequest& request_;
  const Mount mount_;
  const int64_t start_ns_;
  std::optional<Pending> left_;
  bool unmounted_ = false;
};

void Unmounter::AwaitDrained() {
  ProgressBar progress("draining");
  uint64_t total_bytes = 0;
  int64_t moved_ns = clock_.MonotonicNs();
  uint64_t least_bytes = UINT64_MAX;
  for (;;) {
    left_ = ReadPending(mount_.root);
    if (!left_ || left_->none() || TimeIsUp()) return;
    total_bytes = std::max(total_bytes, left_->bytes);
    if (left_->bytes < least_bytes) {
      least_bytes = left_->bytes;
      moved_ns = clock_.MonotonicNs();
    }
    if (clock_.MonotonicNs() - moved_ns > kStalledNs) return;
    progress.Update(total_bytes - left_->bytes, total_bytes, DescribePending(*left_) + " to store");
    std::this_thread::sleep_for(kPollInterval);
  }
}

// The process that has the store, to wait for its end; invalid if nobody knows it.
UniqueFd OpenDaemon(const std::string& store_path) {
  const auto holder = FindStoreHolder(store_path);
  if (!holder.ok() || !*holder) return UniqueFd();
  return UniqueFd(static_cast<int>(syscall(SYS_pidfd_open, (*holder)->pid, 0)));
}

ExitCode Unmounter::AwaitDaemon(UniqueFd daemon) {
  for (;;) {
    const int64_t timeout_ns =
        request_.timeout_seconds < 0
            ? -1
            : std::max<int64_t>(0,
                                static_cast<int64_t>(request_.timeout_seconds * 1e9) - WaitedNs());
    const Result<bool> free = WaitForStore(mount_.store, timeout_ns);
    // A store of another user, or one that is out of reach, cannot be asked.
    if (!free.ok()) return Finish(kDone, "");
    if (*free) break;
    if (TimeIsUp() || !IsMounted(mount_)) {
      return Finish(kIncomplete,
                    fmt::format("{} is unmounted, but its daemon still stores what was "
                                "pending; the store {} is in use until then",
                                Printable(mount_.root), Printable(mount_.store)));
    }
    // A supervisor had begun to replace a dead daemon, and did not see the umount.
    daemon = OpenDaemon(mount_.store);
    const Status status = Unmount(mount_.root);
    if (!status.ok()) return FinishMounted(status);
  }
  if (daemon.valid()) {
    struct pollfd end {
      daemon.get(), POLLIN, 0
    };
    poll(&end, 1, kLastStepsMs);
  }
  return Finish(kDone, "");
}

ExitCode Unmounter::Finish(ExitCode code, const std::string& sentence) {
  if (request_.json) {
    nlohmann::ordered_json out = {{"mount_point", mount_.root},
                                  {"store", mount_.store},
                                  {"unmounted", unmounted_},
                                  {"complete", code == kDone},
                                  {"seconds", static_cast<double>(WaitedNs()) / 1e9}};
    if (!sentence.empty()) out["message"] = sentence;
    fmt::print("{}\n", out.dump(2, ' ', false, nlohmann::json::error_handler_t::replace));
  }
  if (!sentence.empty()) PrintError(sentence);
  return code;
}

ExitCode Unmounter::Run() {
  if (!request_.lazy) AwaitDrained();
  if (TimeIsUp() && left_ && left_->files > 0) {
    return Finish(kIncomplete, fmt::format("{} left to store after {:g} s; {} is still mounted",
                                           DescribePending(*left_), request_.timeout_seconds,
                                           Printable(mount_.root)));
  }
  UniqueFd daemon = OpenDaemon(mount_.store);
  const Status status = Unmount(mount_.root, {.lazy = request_.lazy});
  if (!status.ok()) return FinishMounted(status);
  unmounted_ = true;
  // Who detaches lazily does not want to wait for the last user.
  return request_.lazy ? Finish(kDone, "") : AwaitDaemon(std::move(daemon));
}

ExitCode Unmounter::FinishMounted(const Status& status) {
  unmounted_ = false;
  const std::string reason =
      status.os_errno() == EBUSY
          ? DescribeUsers(mount_.root)
          : fmt::format("cannot be unmounted: {}", status.context().empty()
                                                       ? std::strerror(status.os_errno())
                                                       : std::string(status.context()));
  return Finish(kFailed, fmt::format("{} {}", Printable(mount_.root), reason));
}

ExitCode RunUmount(const UmountRequest& request) {
  const Result<MountedPath> found = FindMount(request.path);
  if (!found.ok()) {
    PrintError(found.status().context());
    return kNotMounted;
  }
  if (!found->relative.empty()) {
    PrintError(fmt::format("{} is no mount point; the mount it lies in is {}",
                           Printable(request.path), Printable(found->mount.root)));
    return kNotMounted;
  }
  return Unmounter(request, found->mount).Run();
}

}  // namespace

void AddUmountCommand(CLI::App& root, int* exit_code) {
  auto request = std::make_shared<UmountRequest>();
  CLI::App* const command =
      root.add_subcommand("umount", "Store what is pending, then unmount; waits for both");
  command->add_option("--timeout", request->timeout_seconds, "Give up waiting after so long")
      ->type_name("SECONDS")
      ->check(CLI::NonNegativeNumber);
  command->add_flag("-l,--lazy", request->lazy,
                    "Take the mount away at once, even while it is in use, and do not wait");
  command->add_flag("--json", request->json, "Say what was done as JSON");
  command->add_option("MOUNTPOINT", request->path, "Where it is mounted")
      ->type_name("")
      ->required();
  command->callback([request, exit_code] { *exit_code = RunUmount(*request); });
}

}  // namespace varve
