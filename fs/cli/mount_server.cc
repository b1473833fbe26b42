#include "fs/cli/mount_server.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include <atomic>
#include <csignal>
#include <cstring>
#include <fstream>
#include <memory>

#include "fs/cli/output.h"
#include "fs/cli/signal_watcher.h"
#include "fs/cli/standard_streams.h"
#include "fs/cli/version.h"
#include "fs/core/volume.h"
#include "fs/fuse/session.h"
#include "store/base/clock.h"
#include "store/base/log.h"

namespace varve {
namespace {

constexpr int kOomScore = -500;  // killed late: every open file there would fail

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
      : request_(request),
        log_path_(request.log_path.empty() ? request.store_path + "/varve.log" : request.log_path),
        reporter_(std::move(reporter)) {}

  ExitCode Run();

 private:
  Status Open();
  void StartLog();
  ExitCode Fail(const Status& status);
  void OnLive();
  void OnSignal(int number);
  void Drain();

  const MountRequest& request_;
  const std::string log_path_;
  MountReporter reporter_;
  std::unique_ptr<Session> session_;
  std::unique_ptr<Volume> volume_;
  std::atomic<bool> draining_{false};
};

ExitCode MountServer::Run() {
  PrepareProcess();
  if (const Status opened = Open(); !opened.ok()) return Fail(opened);
  SignalWatcher signals([this](int number) { OnSignal(number); });
  if (const Status mounted = session_->Mount(*volume_); !mounted.ok()) return Fail(mounted);
  const Status served = session_->Serve([this] { OnLive(); });
  if (!served.ok()) {
    LogError("{} is unmounted: {}", request_.mount_point, served);
    if (!reporter_.reported()) return Fail(served);
  }
  Drain();
  return served.ok() ? kDone : kFailed;
}

Status MountServer::Open() {
  // A store that is new has no log yet, and must be empty to become a store.
  const bool log_exists = access(log_path_.c_str(), F_OK) == 0;
  if (log_exists) StartLog();
  ASSIGN_OR_RETURN(session_, Session::Open(ToSessionOptions(request_)));
  ASSIGN_OR_RETURN(volume_,
                   OpenVolume(request_.store_path, ToVolumeOptions(request_), session_->channel()));
  if (!log_exists) StartLog();
  return Status();
}

void MountServer::StartLog() {
  LogOptions options;
  options.standard_error = request_.foreground;
  options.file = log_path_;
  options.syslog = true;
  const Status started = InitLog(options);
  if (!started.ok()) LogWarning("logging to stderr: {}", started);
}

ExitCode MountServer::Fail(const Status& status) {
  const std::string sentence =
      status.context().empty() ? status.ToString() : std::string(status.context());
  LogError("{} is not mounted: {}", request_.store_path, sentence);
  if (request_.foreground) PrintError(sentence);
  reporter_.Failed(sentence);
  return kFailed;
}

void MountServer::OnLive() {
  LogInfo("varve {}: {} is mounted at {}", kVersion, request_.store_path, request_.mount_point);
  if (!reporter_.Live()) {
    kill(getpid(), SIGTERM);  // to the process: raise() would ask this thread, which blocks it
    return;
  }
  if (!request_.foreground) CloseStandardStreams();
}

void MountServer::OnSignal(int number) {
  if (draining_) {
    LogWarning("signal {} while draining: the next mount will finish", number);
    // Not exit(): other threads are at work, and a crash is what they are made for.
    _exit(kIncomplete);
  }
  LogInfo("signal {}: unmounting {}", number, request_.mount_point);
  session_->Stop();
}

void MountServer::Drain() {
  draining_ = true;
  SystemClock clock;
  const int64_t start_ns = clock.MonotonicNs();
  const Status drained = volume_->Drain(-1);
  if (!drained.ok()) LogError("not everything could be stored: {}", drained);
  volume_.reset();
  LogInfo("{} is unmounted; finishing took {} ms", request_.mount_point,
          (clock.MonotonicNs() - start_ns) / 1'000'000);
  LogInfo("operations: {}", session_->metrics().Json());
}

}  // namespace

ExitCode ServeMount(const MountRequest& request, MountReporter reporter) {
  return MountServer(request, std::move(reporter)).Run();
}

}  // namespace varve
