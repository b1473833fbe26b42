#include "fs/cli/sync_command.h"

#include <fmt/format.h>
#include <sys/stat.h>
#include <sys/xattr.h>
#include <unistd.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <cerrno>
#include <memory>
#include <optional>

#include "fs/cli/commands.h"
#include "fs/cli/failure.h"
#include "fs/cli/output.h"
#include "fs/cli/version_list.h"
#include "store/base/clock.h"

namespace varve {
namespace {

constexpr int64_t kNsPerSecond = 1'000'000'000;
constexpr useconds_t kFirstPollUs = 2'000;
constexpr useconds_t kLastPollUs = 100'000;
constexpr double kTimeoutSeconds = 600;

struct Options {
  std::vector<std::string> paths;
  double timeout_seconds = kTimeoutSeconds;
};

// One path that is waited for.
struct Target {
  std::string path;
  Mount mount;
  bool directory = false;
  std::optional<StatusReport> before;  // directories
  bool done = false;
};

Status AskToSync(const Target& target) {
  constexpr char kValue = '1';
  if (setxattr(target.path.c_str(), "user.varve.sync", &kValue, 1, 0) == 0) return Status();
  const int os_errno = errno;
  if (os_errno == EACCES || os_errno == EPERM) {
    return Status::Errno(os_errno,
                         fmt::format("only who may write {} may sync it", Printable(target.path)));
  }
  return Status::Errno(os_errno, "cannot sync " + Printable(target.path));
}

Result<Target> Start(const std::string& path) {
  Target target;
  const Result<MountedPath> found = FindMount(path);
  if (!found.ok()) return found.status();
  target.mount = found->mount;
  target.path = AbsolutePath(path);
  struct stat stat {};
  if (::stat(target.path.c_str(), &stat) != 0) {
    // Its sentence for a daemon that is gone is better than ENOTCONN.
    if (errno == ENOTCONN) RETURN_IF_ERROR(StatusReport::Read(target.mount).status());
    return Status::Errno(errno, Printable(target.path));
  }
  target.directory = S_ISDIR(stat.st_mode);
  if (!target.directory && !S_ISREG(stat.st_mode)) {
    return Status(Code::kInvalid, Printable(target.path) + " is neither a file nor a directory");
  }
  RETURN_IF_ERROR(AskToSync(target));
  if (target.directory) {
    ASSIGN_OR_RETURN(target.before, StatusReport::Read(target.mount));
  }
  return target;
}

Status Check(Target* target, double elapsed_seconds) {
  if (!target->directory) {
    const auto durable = ReadAttribute(target->path, "user.varve.durable");
    if (!durable) return Status::Errno(errno, "cannot ask for " + Printable(target->path));
    target->done = *durable == "1";
    return Status();
  }
  ASSIGN_OR_RETURN(const StatusReport now, StatusReport::Read(target->mount));
  if (now.Flag("durability/fenced")) {
    return Status(Code::kIo, fmt::format("the store of {} is read-only after a failed disk flush "
                                         "({}); check the disk and mount it again",
                                         Printable(target->mount.root),
                                         Printable(now.Text("durability/reason"))));
  }
  target->done = AllDone(*target->before, now, elapsed_seconds);
  return Status();
}

// What is left, for the progress bar and for the sentence at the time limit.
std::string Left(const Target& target) {
  const Result<StatusReport> now = StatusReport::Read(target.mount);
  if (!now.ok()) return "";
  return fmt::format("{} files, {} pending", now->Number("pending/files"),
                     HumanSize(now->Number("pending/bytes")));
}

class Waiter {
 public:
  explicit Waiter(const Options& options) : options_(options) {}

  Status Run() {
    for (const std::string& path : options_.paths) {
      ASSIGN_OR_RETURN(Target target, Start(path));
      targets_.push_back(std::move(target));
    }
    ProgressBar bar("syncing");
    for (useconds_t pause_us = kFirstPollUs;; pause_us = std::min(pause_us * 2, kLastPollUs)) {
      ASSIGN_OR_RETURN(const size_t done, Poll());
      if (done == targets_.size()) return Status();
      const Target& waiting =
          *std::find_if(targets_.begin(), targets_.end(), [](const Target& t) { return !t.done; });
      bar.Update(done, targets_.size(), Left(waiting));
      if (ElapsedSeconds() >= options_.timeout_seconds) return TimedOut(waiting);
      usleep(pause_us);
    }
  }

 private:
  Result<size_t> Poll() {
    size_t done = 0;
    for (Target& target : targets_) {
      if (!target.done) RETURN_IF_ERROR(Check(&target, ElapsedSeconds()));
      done += target.done ? 1 : 0;
    }
    return done;
  }
  Status TimedOut(const Target& waiting) const {
    return Status(Code::kBusy,
                  fmt::format("after {:g} s {} is not durable yet ({}); it goes on in "
                              "the background",
                              options_.timeout_seconds, Printable(waiting.path), Left(waiting)));
  }
  double ElapsedSeconds() const {
    return static_cast<double>(SystemClock().MonotonicNs() - start_ns_) /
           static_cast<double>(kNsPerSecond);
  }

  const Options& options_;
  const int64_t start_ns_ = SystemClock().MonotonicNs();
  std::vector<Target> targets_;
};

ExitCode Run(const Options& options) {
  const Status status = Waiter(options).Run();
  if (!status.ok()) return Fail(status);
  return kDone;
}

}  // namespace

bool AllDone(const StatusReport& before, const StatusReport& now, double elapsed_seconds) {
  // A training run may never let the list become empty: what counts is whether the
  // oldest that is pending is younger than the question, by more than its rounding.
  constexpr double kRoundingSeconds = 1;
  const bool stored = now.Number("pending/files") == 0 ||
                      now.Real("pending/oldest_seconds") + kRoundingSeconds < elapsed_seconds;
  return stored && now.Number("durability/committed") >= before.Number("durability/applied");
}

void AddSyncCommand(CLI::App& root, int* exit_code) {
  auto options = std::make_shared<Options>();
  CLI::App* command =
      root.add_subcommand("sync", "Wait until paths are captured and safe from a power cut");
  command->add_option("PATH", options->paths, "Files or directories")->required();
  command
      ->add_option("--timeout", options->timeout_seconds,
                   "Give up waiting after this many seconds; the work itself goes on")
      ->capture_default_str()
      ->check(CLI::NonNegativeNumber);
  command->footer(
      "A file is captured as it is now, also while it is open. For a directory, all that is "
      "pending\n"
      "in the mount is stored.\n"
      "Examples:\n"
      "  varve sync /mnt/runs/run1/last.pt\n"
      "  varve sync --timeout 30 /mnt/runs || echo 'still busy'\n"
      "Without this program: setfattr -n user.varve.sync -v 1 FILE; getfattr -n user.varve.durable "
      "FILE\n"
      "Exit status: 0 durable, 1 failed, 3 not in a VarveFS mount, 4 time limit.");
  command->callback([options, exit_code] { *exit_code = Run(*options); });
}

}  // namespace varve
