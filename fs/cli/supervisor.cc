#include "fs/cli/supervisor.h"

#include <fmt/format.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <csignal>
#include <cstring>
#include <optional>
#include <utility>

#include "fs/cli/mount_log.h"
#include "fs/cli/mount_point.h"
#include "fs/cli/mount_server.h"
#include "fs/cli/signal_watcher.h"
#include "fs/cli/standard_streams.h"
#include "fs/fuse/unmount.h"
#include "store/base/clock.h"
#include "store/base/log.h"

namespace varve {
namespace {

constexpr int64_t kNsPerSecond = 1'000'000'000;
constexpr int64_t kQuickDeathNs = 10 * kNsPerSecond;  // a daemon that lived no longer
constexpr int kQuickDeathsMax = 5;                    // in a row: it is hopeless
constexpr int64_t kFirstPauseNs = kNsPerSecond / 10;  // after the second; doubled each time

std::string DescribeEnd(int status) {
  return WIFSIGNALED(status) ? fmt::format("was killed by signal {}", WTERMSIG(status))
                             : fmt::format("ended with exit code {}", WEXITSTATUS(status));
}

class Supervisor {
 public:
  explicit Supervisor(const MountRequest& request) : request_(request) {
    BlockWatchedSignals();
    sigset_t child_signal;
    sigemptyset(&child_signal);
    sigaddset(&child_signal, SIGCHLD);
    sigprocmask(SIG_BLOCK, &child_signal, nullptr);
    // It keeps no directory from being unmounted. Where "/" cannot be entered, nothing can.
    static_cast<void>(chdir("/"));
  }

  ExitCode Run(MountReporter reporter);

 private:
  // False if there can be no process.
  bool StartDaemon(MountReporter reporter);
  int WaitForDaemon();
  // What the end of a daemon means for the mount; nothing: it needs another one.
  std::optional<ExitCode> Judge(int status, int64_t lived_ns);
  // Is the mount still there, dead or not? If not, nobody misses it.
  bool LeftItsMount() const;
  ExitCode GiveUp(const std::string& end) const;
  // False if a signal came instead.
  bool Pause() const;
  // Without a daemon: the next mount finishes what is pending.
  ExitCode StopWithoutDaemon() const;

  MountRequest request_;
  SystemClock clock_;
  pid_t daemon_ = 0;
  bool first_ = true;
  bool stopping_ = false;
  int quick_deaths_ = 0;
};

bool Supervisor::StartDaemon(MountReporter reporter) {
  daemon_ = fork();
  if (daemon_ == 0) _exit(ServeMount(request_, std::move(reporter)));
  if (daemon_ > 0) return true;
  const std::string sentence = fmt::format("no process could be started: {}", strerror(errno));
  LogError("{}", sentence);
  reporter.Failed(sentence);
  return false;
}

int Supervisor::WaitForDaemon() {
  sigset_t signals = WatchedSignals();
  sigaddset(&signals, SIGCHLD);
  for (;;) {
    int status = 0;
    if (waitpid(daemon_, &status, WNOHANG) == daemon_) return status;
    int number = 0;
    if (sigwait(&signals, &number) != 0 || number == SIGCHLD) continue;
    stopping_ = true;
    kill(daemon_, number);
  }
}

std::optional<ExitCode> Supervisor::Judge(int status, int64_t lived_ns) {
  const std::string end = DescribeEnd(status);
  if (WIFEXITED(status)) {
    const auto code = static_cast<ExitCode>(WEXITSTATUS(status));
    const bool unmounted = code == kDone || code == kIncomplete;
    // One that could not even mount has said why to whom started it.
    if (unmounted || stopping_ || (first_ && code == kNotMounted)) return code;
  }
  ContinueMountLog(request_);
  if (stopping_ || (WIFSIGNALED(status) && !LeftItsMount())) {
    LogError("the daemon of {} {} on its way out", request_.mount_point, end);
    return StopWithoutDaemon();
  }
  quick_deaths_ = lived_ns < kQuickDeathNs ? quick_deaths_ + 1 : 0;
  if (quick_deaths_ >= kQuickDeathsMax) return GiveUp(end);
  LogError("the daemon of {} {}; mounting again", request_.mount_point, end);
  return std::nullopt;
}

bool Supervisor::LeftItsMount() const {
  return IsMounted({request_.mount_point, request_.store_path});
}

ExitCode Supervisor::GiveUp(const std::string& end) const {
  LogError(
      "the daemon of {} {}, number {} in a row that ended within {} s: giving up. What was "
      "acknowledged is in the store. See {}, check with 'varve fsck {}', then mount again",
      request_.mount_point, end, kQuickDeathsMax, kQuickDeathNs / kNsPerSecond,
      MountLogPath(request_), request_.store_path);
  return kFailed;
}

bool Supervisor::Pause() const {
  // The first to die is replaced at once: who has died twice may do so for ever.
  if (quick_deaths_ < 2) return true;
  const int64_t pause_ns = kFirstPauseNs << (quick_deaths_ - 2);
  const struct timespec pause { pause_ns / kNsPerSecond, pause_ns % kNsPerSecond };
  const sigset_t signals = WatchedSignals();
  return sigtimedwait(&signals, nullptr, &pause) < 0;
}

ExitCode Supervisor::StopWithoutDaemon() const {
  if (LeftItsMount()) static_cast<void>(Unmount(request_.mount_point, {.lazy = true}));
  LogWarning("{} is unmounted; the next mount finishes what is pending", request_.mount_point);
  return kIncomplete;
}

ExitCode Supervisor::Run(MountReporter reporter) {
  for (;;) {
    const int64_t start_ns = clock_.MonotonicNs();
    int status = 0;
    if (StartDaemon(std::exchange(reporter, MountReporter()))) {
      if (!request_.foreground) CloseStandardStreams();
      status = WaitForDaemon();
    } else {
      status = kNotMounted << 8;  // as waitpid(2) has it
    }
    if (const auto end = Judge(status, clock_.MonotonicNs() - start_ns)) return *end;
    first_ = false;
    // One that ended by itself has taken its mount away; if it was the first's, there is
    // nothing to replace.
    request_.replaces_dead_mount = LeftItsMount();
    if (!Pause()) return StopWithoutDaemon();
  }
}

}  // namespace

ExitCode Supervise(const MountRequest& request, MountReporter reporter) {
  return Supervisor(request).Run(std::move(reporter));
}

}  // namespace varve
