#include "fs/cli/daemon.h"

#include <fmt/format.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cstring>

#include "fs/cli/mount_report.h"
#include "fs/cli/mount_server.h"
#include "fs/cli/output.h"
#include "fs/cli/supervisor.h"

namespace varve {
namespace {

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

ExitCode RunHere(const MountRequest& request, MountReporter reporter) {
  const ExitCode code = request.supervise ? Supervise(request, std::move(reporter))
                                          : ServeMount(request, std::move(reporter));
  return code == kNotMounted ? kFailed : code;
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
