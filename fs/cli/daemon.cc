#include "fs/cli/daemon.h"

#include <fmt/format.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cstring>

#include "fs/cli/mount_report.h"
#include "fs/cli/mount_server.h"
#include "fs/cli/output.h"
#include "fs/cli/signal_watcher.h"
#include "fs/cli/standard_streams.h"
#include "fs/fuse/unmount.h"
#include "store/base/clock.h"
#include "store/base/log.h"

namespace varve {
namespace {

constexpr int64_t kNsPerSecond = 1'000'000'000;
constexpr int kQuickDeathsMax = 5;  // in a row, each within kQuickDeathNs: it is hopeless
constexpr int64_t kQuickDeathNs = 10 * kNsPerSecond;

int WaitForExit(pid_t child) {
  int status = 0;
  while (waitpid(child, &status, 0) < 0 && errno == EINTR) {
  }
  return status;
}

std::string DescribeEnd(int status) {
  return WIFSIGNALED(status) ? fmt::format("was killed by signal {}", WTERMSIG(status))
                             : fmt::format("ended with exit code {}", WEXITSTATUS(status));
}

// Waits for the daemon or for a signal that is passed on to it.
class Supervisor {
 public:
  explicit Supervisor(const MountRequest& request) : request_(request) {}

  ExitCode Run(MountReporter reporter);

 private:
  // In the child, does not return.
  pid_t StartDaemon(MountReporter* reporter);
  int WaitForDaemon();
  bool ShallRestart(int status, int64_t lived_ns);

  const MountRequest& request_;
  pid_t daemon_ = 0;
  bool stopping_ = false;
  int quick_deaths_ = 0;
};

pid_t Supervisor::StartDaemon(MountReporter* reporter) {
  const pid_t child = fork();
  if (child != 0) return child;
  _exit(ServeMount(request_, std::move(*reporter)));
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

bool Supervisor::ShallRestart(int status, int64_t lived_ns) {
  if (stopping_ || (WIFEXITED(status) && WEXITSTATUS(status) == kDone)) return false;
  quick_deaths_ = lived_ns < kQuickDeathNs ? quick_deaths_ + 1 : 0;
  if (quick_deaths_ >= kQuickDeathsMax) {
    LogError("the daemon of {} {}, and so did its predecessors: giving up", request_.mount_point,
             DescribeEnd(status));
    return false;
  }
  LogError("the daemon of {} {}; mounting again", request_.mount_point, DescribeEnd(status));
  return true;
}

ExitCode Supervisor::Run(MountReporter reporter) {
  BlockWatchedSignals();
  sigset_t child_signal;
  sigemptyset(&child_signal);
  sigaddset(&child_signal, SIGCHLD);
  sigprocmask(SIG_BLOCK, &child_signal, nullptr);
  LogOptions log;
  log.standard_error = request_.foreground;
  log.syslog = true;
  static_cast<void>(InitLog(log));  // without a file it cannot fail

  SystemClock clock;
  bool first = true;
  for (;;) {
    const int64_t start_ns = clock.MonotonicNs();
    daemon_ = StartDaemon(&reporter);
    if (daemon_ < 0) {
      reporter.Failed(fmt::format("no process could be started: {}", std::strerror(errno)));
      return kFailed;
    }
    // The daemon has them now; after the first there is nobody to report to.
    reporter = MountReporter();
    if (!request_.foreground) CloseStandardStreams();
    const int status = WaitForDaemon();
    const int64_t lived_ns = clock.MonotonicNs() - start_ns;
    if (WIFEXITED(status) && first && lived_ns < kQuickDeathNs && WEXITSTATUS(status) != kDone) {
      return kFailed;  // it has said why
    }
    first = false;
    if (!ShallRestart(status, lived_ns)) return WIFEXITED(status) ? kDone : kFailed;
    static_cast<void>(Unmount(request_.mount_point, {.lazy = true}));  // it may be gone already
  }
}

ExitCode RunHere(const MountRequest& request, MountReporter reporter) {
  return request.supervise ? Supervisor(request).Run(std::move(reporter))
                           : ServeMount(request, std::move(reporter));
}

}  // namespace

ExitCode RunMount(const MountRequest& request) {
  if (request.foreground) return RunHere(request, MountReporter());
  Result<MountPipe> pipe = MakeMountPipe();
  if (!pipe.ok()) {
    PrintError(pipe.status().ToString());
    return kFailed;
  }
  const pid_t child = fork();
  if (child < 0) {
    PrintError(fmt::format("no process could be started: {}", std::strerror(errno)));
    return kFailed;
  }
  if (child == 0) {
    pipe->reading.Reset();
    setsid();
    _exit(RunHere(request, MountReporter(std::move(pipe->writing))));
  }
  pipe->writing.Reset();
  const std::optional<MountOutcome> outcome = ReceiveOutcome(std::move(pipe->reading));
  if (!outcome) {
    PrintError(fmt::format("the daemon {} before the mount was live; see {}/varve.log",
                           DescribeEnd(WaitForExit(child)), request.store_path));
    return kFailed;
  }
  if (!outcome->live) {
    WaitForExit(child);
    PrintError(outcome->sentence);
    return kFailed;
  }
  // The kernel answers only after it has taken the daemon's greeting.
  struct stat root {};
  static_cast<void>(stat(request.mount_point.c_str(), &root));
  return kDone;
}

}  // namespace varve
