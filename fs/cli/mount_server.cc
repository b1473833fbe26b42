#include "fs/cli/mount_server.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <csignal>
#include <cstring>
#include <fstream>
#include <memory>

#include "fs/cli/mount_log.h"
#include "fs/cli/mount_point.h"
#include "fs/cli/output.h"
#include "fs/cli/pending.h"
#include "fs/cli/signal_watcher.h"
#include "fs/cli/standard_streams.h"
#include "fs/cli/version.h"
#include "fs/core/volume.h"
#include "fs/fuse/session.h"
#include "fs/fuse/unmount.h"
#include "store/base/clock.h"
#include "store/base/log.h"

namespace varve {
namespace {

constexpr int64_t kNsPerSecond = 1'000'000'000;
constexpr int kOomScore = -500;  // killed late: every open file there would fail
// Signals that come within it are one request: an init system may send it to all
// processes of a mount, and a supervisor passes it on.
constexpr int64_t kOneRequestNs = kNsPerSecond;
constexpr int64_t kDrainStepNs = kNsPerSecond / 20;  // until a signal is noticed
constexpr int64_t kReportNs = 10 * kNsPerSecond;

void RaiseLimit(int resource) {
  struct rlimit limit {};
  if (getrlimit(static_cast<__rlimit_resource>(resource), &limit) != 0) return;
  limit.rlim_cur = limit.rlim_max;
  setrlimit(static_cast<__rlimit_resource>(resource), &limit);
}

// What a filesystem's process should have, each where it is permitted.
void PrepareProcess() {
  BlockWatchedSignals();
  for (const int number : {SIGPIPE, SIGXFSZ}) std::signal(number, SIG_IGN);
  umask(0077);
  RaiseLimit(RLIMIT_NOFILE);
  RaiseLimit(RLIMIT_FSIZE);
  // Memory that is reclaimed must not wait for this process to write.
  prctl(PR_SET_IO_FLUSHER, 1, 0, 0, 0);
  std::ofstream("/proc/self/oom_score_adj") << kOomScore;
  // The daemon keeps no other directory from being unmounted.
  if (chdir("/") != 0) LogWarning("chdir to / failed: {}", std::strerror(errno));
}

VolumeOptions ToVolumeOptions(const MountRequest& request) {
  VolumeOptions options;
  options.passthrough = request.passthrough;
  options.io_uring = request.store_io_uring;
  options.threads = request.threads;
  options.hot_bytes_max = request.hot_bytes_max;
  options.history_yields = request.history_yields;
  options.quiet_ns = int64_t{request.quiet_seconds} * 1'000'000'000;
  options.mount_point = request.mount_point;
  return options;
}

SessionOptions ToSessionOptions(const MountRequest& request) {
  SessionOptions options;
  options.mount_point = request.mount_point;
  options.store_path = request.store_path;
  options.version = kVersion;
  options.passthrough = request.passthrough;
  options.io_uring = request.fuse_io_uring;
  if (!request.store_io_uring) options.io_uring_reason = "switched off with no_io_uring";
  options.allow_other = request.allow_other;
  // libfuse begins with nosuid,nodev; root gets what other filesystems give.
  if (geteuid() == 0) options.mount_flags = {"suid", "dev"};
  options.mount_flags.insert(options.mount_flags.end(), request.mount_flags.begin(),
                             request.mount_flags.end());
  return options;
}

class MountServer {
 public:
  MountServer(const MountRequest& request, MountReporter reporter)
      : request_(request), reporter_(std::move(reporter)) {}

  ExitCode Run();

 private:
  enum class Stage { kStarting, kStopped, kLive };

  Status Open();
  // Takes the mount away that this one replaces. False if nobody wants it any more.
  Result<bool> MakeRoom();
  ExitCode Fail(const Status& status);
  void OnLive();
  void OnSignal(int number);
  ExitCode Drain();
  Status StoreAll();
  // What is left of the time that a signal began; never negative, huge without a limit.
  int64_t LeftNs();
  std::string DescribeLeft();

  const MountRequest& request_;
  SystemClock clock_;
  MountReporter reporter_;
  std::unique_ptr<Session> session_;
  std::unique_ptr<Volume> volume_;
  std::atomic<Stage> stage_{Stage::kStarting};
  std::atomic<int64_t> asked_ns_{0};  // when the first signal came
};

ExitCode MountServer::Run() {
  PrepareProcess();
  if (const Status opened = Open(); !opened.ok()) return Fail(opened);
  SignalWatcher signals([this](int number) { OnSignal(number); });
  const Result<bool> wanted = MakeRoom();
  if (!wanted.ok()) return Fail(wanted.status());
  if (!*wanted) return Drain();
  if (const Status mounted = session_->Mount(*volume_); !mounted.ok()) return Fail(mounted);
  const Status served = session_->Serve([this] { OnLive(); });
  volume_->Disconnect();
  if (!served.ok()) {
    LogError("{} is unmounted: {}", request_.mount_point, served);
    if (!reporter_.reported()) return Fail(served);
    // Its successor stores what is pending.
    if (request_.supervise) return kFailed;
  }
  const ExitCode drained = Drain();
  return served.ok() ? drained : kFailed;
}

Status MountServer::Open() {
  // A store that is new has no log yet, and must be empty to become a store.
  ContinueMountLog(request_);
  ASSIGN_OR_RETURN(session_, Session::Open(ToSessionOptions(request_)));
  ASSIGN_OR_RETURN(volume_,
                   OpenVolume(request_.store_path, ToVolumeOptions(request_), session_->channel()));
  StartMountLog(request_);
  return Status();
}

Result<bool> MountServer::MakeRoom() {
  const bool stopped = stage_ == Stage::kStopped;
  if (stopped) reporter_.Failed("a signal came before the mount was live");
  if (!request_.replaces_dead_mount) return !stopped;
  const Mount dead{request_.mount_point, request_.store_path};
  Status removed;
  if (IsMounted(dead)) {
    // Only now: until here the dead mount has kept everybody out of the directory below.
    removed = Unmount(request_.mount_point, {.lazy = true});
    if (removed.ok()) return !stopped;
  }
  if (!IsMounted(dead)) {  // somebody else was faster
    LogInfo("{} was unmounted while it had no daemon", request_.mount_point);
    return false;
  }
  return Status(Code::kIo, fmt::format("the dead mount at {} could not be taken away: {}",
                                       request_.mount_point, removed.ToString()));
}

ExitCode MountServer::Fail(const Status& status) {
  const std::string sentence =
      status.context().empty() ? status.ToString() : std::string(status.context());
  LogError("{} is not mounted: {}", request_.store_path, sentence);
  if (request_.foreground) PrintError(sentence);
  reporter_.Failed(sentence);
  return kNotMounted;
}

void MountServer::OnLive() {
  LogInfo("varve {}: {} is mounted at {}", kVersion, request_.store_path, request_.mount_point);
  const bool stopped = stage_.exchange(Stage::kLive) == Stage::kStopped;
  if (stopped) asked_ns_ = 0;  // what follows is the same request, not a second one
  if (!reporter_.Live() || stopped) {
    kill(getpid(), SIGTERM);  // to the process: raise() would ask this thread, which blocks it
    return;
  }
  if (!request_.foreground) CloseStandardStreams();
}

void MountServer::OnSignal(int number) {
  const int64_t now_ns = clock_.MonotonicNs();
  int64_t asked_ns = 0;
  if (!asked_ns_.compare_exchange_strong(asked_ns, now_ns)) {
    if (now_ns - asked_ns < kOneRequestNs) return;
    LogWarning("signal {} while stopping: the next mount will finish", number);
    // Not exit(): other threads are at work, and a crash is what they are made for.
    _exit(kIncomplete);
  }
  // Before the kernel is connected there is nothing to unmount; OnLive() comes back to it.
  Stage starting = Stage::kStarting;
  if (stage_.compare_exchange_strong(starting, Stage::kStopped)) return;
  LogInfo("signal {}: unmounting {}", number, request_.mount_point);
  session_->Stop();
}

int64_t MountServer::LeftNs() {
  const int64_t asked_ns = asked_ns_;
  if (asked_ns == 0 || request_.stop_timeout_seconds < 0) return INT64_MAX;
  const auto timeout_ns = static_cast<int64_t>(request_.stop_timeout_seconds * kNsPerSecond);
  return std::max<int64_t>(0, asked_ns + timeout_ns - clock_.MonotonicNs());
}

std::string MountServer::DescribeLeft() {
  return DescribePending(ParsePending(volume_->StatusJson()).value_or(Pending()));
}

Status MountServer::StoreAll() {
  int64_t report_ns = clock_.MonotonicNs();
  for (;;) {
    const Status drained = volume_->Drain(std::min(kDrainStepNs, LeftNs()));
    if (drained.code() != Code::kBusy || LeftNs() == 0) return drained;
    const int64_t now_ns = clock_.MonotonicNs();
    if (now_ns < report_ns) continue;
    LogInfo("{} is unmounted, and there is left to store: {}", request_.mount_point,
            DescribeLeft());
    report_ns = now_ns + kReportNs;
  }
}

ExitCode MountServer::Drain() {
  const int64_t start_ns = clock_.MonotonicNs();
  const Status drained = StoreAll();
  if (drained.code() == Code::kBusy) {
    LogWarning("{} is unmounted, and after {} s there is left to store: {}; the next mount goes on",
               request_.mount_point, request_.stop_timeout_seconds, DescribeLeft());
  } else if (!drained.ok()) {
    LogError("not everything could be stored: {}", drained);
  }
  volume_.reset();
  LogInfo("{} is unmounted; finishing took {} ms", request_.mount_point,
          (clock_.MonotonicNs() - start_ns) / 1'000'000);
  LogInfo("operations: {}", session_->metrics().Json());
  return drained.ok() ? kDone : kIncomplete;
}

}  // namespace

ExitCode ServeMount(const MountRequest& request, MountReporter reporter) {
  return MountServer(request, std::move(reporter)).Run();
}

}  // namespace varve
