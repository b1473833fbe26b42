#include "fs/cli/restore_command.h"

#include <fmt/format.h>
#include <sys/stat.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <cerrno>
#include <cstdlib>
#include <memory>

#include "fs/cli/commands.h"
#include "fs/cli/directory_versions.h"
#include "fs/cli/failure.h"
#include "fs/cli/file_copy.h"
#include "fs/cli/output.h"
#include "fs/cli/time_text.h"
#include "fs/cli/tree_copy.h"
#include "store/base/clock.h"

namespace varve {
namespace {

struct Options {
  std::string path;
  std::string destination;
  std::string at;
  VersionChoice choice;
  bool force = false;
};

bool Before(const struct timespec& a, const struct timespec& b) {
  return std::pair(a.tv_sec, a.tv_nsec) < std::pair(b.tv_sec, b.tv_nsec);
}

// Where to, and whether what is there may go.
Result<CopyTarget> ChooseTarget(const Options& options, const VersionedFile& file) {
  CopyTarget target;
  const bool asked_for =
      options.choice.number != 0 || options.choice.not_after || options.choice.latest_complete;
  struct stat stat {};
  if (options.destination.empty()) {
    target.path = file.path;
    target.replace = true;
    // Replacing what is there by what is there helps nobody: the user means another one.
    if (lstat(file.path.c_str(), &stat) == 0 && !asked_for) {
      return Status(Code::kInvalid,
                    fmt::format("{0} exists; say which version shall replace it (-n N; see varve "
                                "log {0}), or write beside it with --to DEST",
                                Printable(file.path)));
    }
    return target;
  }
  target.path = AbsolutePath(options.destination);
  if (::stat(target.path.c_str(), &stat) == 0 && S_ISDIR(stat.st_mode)) {
    target.path += (target.path.ends_with('/') ? "" : "/") + file.name;
  }
  target.replace = options.force;
  if (!options.force && lstat(target.path.c_str(), &stat) == 0) {
    return Status(Code::kExists,
                  fmt::format("{} exists; replace it with --force", Printable(target.path)));
  }
  return target;
}

// Owner, mode and time at capture, as far as the mount tells them.
Status FillFromVersion(const VersionInfo& version, CopyTarget* target) {
  struct stat stat {};
  if (lstat(version.path.c_str(), &stat) != 0) return Status::Errno(errno, version.path);
  target->uid = stat.st_uid;
  target->gid = stat.st_gid;
  target->modify_time = stat.st_mtim;
  target->mode = (stat.st_mode & 0777) | 0200;
  if (const auto mode = ReadAttribute(version.path, "user.varve.mode")) {
    target->mode = static_cast<mode_t>(std::strtoul(mode->c_str(), nullptr, 8));
  }
  if (const auto time = ReadAttribute(version.path, "user.varve.mtime")) {
    char* fraction = nullptr;
    target->modify_time.tv_sec = std::strtoll(time->c_str(), &fraction, 10);
    target->modify_time.tv_nsec = *fraction == '.' ? std::strtol(fraction + 1, nullptr, 10) : 0;
  }
  return Status();
}

// The same choice among versions of a directory.
Result<DirectoryVersionInfo> ChooseDirectoryVersion(
    const std::vector<DirectoryVersionInfo>& versions, const VersionChoice& choice) {
  const auto matches = [&](const DirectoryVersionInfo& version) {
    if (choice.number != 0) return version.number == choice.number;
    if (choice.not_after) return !Before(*choice.not_after, version.capture_time);
    return !choice.latest_complete || version.complete.value_or(false);
  };
  const auto found = std::find_if(versions.rbegin(), versions.rend(), matches);
  if (found != versions.rend()) return *found;
  return Status(Code::kInvalid, fmt::format("none of its versions is meant; there are v{} to v{}",
                                            versions.front().number, versions.back().number));
}

Status RestoreDirectory(const Options& options) {
  RETURN_IF_ERROR(FindMount(options.path).status());
  if (options.destination.empty()) {
    return Status(Code::kInvalid,
                  fmt::format("{0} is a directory; say where its version shall go with --to DEST "
                              "(versions: varve log {0})",
                              Printable(options.path)));
  }
  const std::string target = AbsolutePath(options.destination);
  struct stat stat {};
  if (lstat(target.c_str(), &stat) == 0)
    return Status(Code::kExists, fmt::format("{} exists", Printable(target)));
  ASSIGN_OR_RETURN(const std::vector<DirectoryVersionInfo> versions,
                   ListDirectoryVersions(options.path));
  ASSIGN_OR_RETURN(const DirectoryVersionInfo version,
                   ChooseDirectoryVersion(versions, options.choice));
  uint64_t copied = 0;
  {
    ProgressBar bar("restoring");
    RETURN_IF_ERROR(CopyTree(version.path, target, [&](uint64_t files) {
      copied = files;
      bar.Update(files, 0, fmt::format("{} files", files));
    }));
  }
  fmt::print("restored v{} (captured {}, {} files) to {}\n", version.number,
             FormatTime(version.capture_time), copied, Printable(target));
  return Status();
}

Status Restore(Options options) {
  if (!options.at.empty()) {
    ASSIGN_OR_RETURN(const struct timespec time, ParseTime(options.at, SystemClock().Now()));
    options.choice.not_after = time;
  }
  if (IsDirectory(options.path)) return RestoreDirectory(options);
  ASSIGN_OR_RETURN(const VersionedFile file, FindVersionedFile(options.path));
  ASSIGN_OR_RETURN(const std::vector<VersionInfo> versions, ListVersions(file));
  ASSIGN_OR_RETURN(const VersionInfo version, ChooseVersion(versions, options.choice));
  ASSIGN_OR_RETURN(CopyTarget target, ChooseTarget(options, file));
  RETURN_IF_ERROR(FillFromVersion(version, &target));
  struct stat stat {};
  const bool replaces = lstat(target.path.c_str(), &stat) == 0;
  {
    ProgressBar bar("restoring");
    RETURN_IF_ERROR(CopyFile(version.path, target, [&](uint64_t done, uint64_t total) {
      bar.Update(done, total, fmt::format("{} of {}", HumanSize(done), HumanSize(total)));
    }));
  }
  fmt::print("restored version {} (captured {}, {}) to {}{}\n", version.number,
             FormatTime(version.capture_time), HumanSize(version.size_bytes),
             Printable(target.path),
             replaces && target.path == file.path ? "; what was there stays in its history" : "");
  if (!version.complete) {
    PrintNote(fmt::format("version {} is not complete: {}", version.number,
                          Printable(version.incomplete)));
  }
  return Status();
}

ExitCode Run(const Options& options) {
  const Status status = Restore(options);
  return status.ok() ? kDone : Fail(status);
}

}  // namespace

Result<VersionInfo> ChooseVersion(const std::vector<VersionInfo>& versions,
                                  const VersionChoice& choice) {
  const auto matches = [&](const VersionInfo& version) {
    if (choice.number != 0) return version.number == choice.number;
    if (choice.not_after) return !Before(*choice.not_after, version.capture_time);
    return !choice.latest_complete || version.complete;
  };
  const auto found = std::find_if(versions.rbegin(), versions.rend(), matches);
  if (found != versions.rend()) return *found;
  if (choice.number != 0) {
    return Status(Code::kInvalid,
                  fmt::format("there is no version {}; there are {} to {}", choice.number,
                              versions.front().number, versions.back().number));
  }
  if (choice.not_after) {
    return Status(Code::kInvalid,
                  fmt::format("no version is that old; the oldest, {}, was captured {}",
                              versions.front().number, FormatTime(versions.front().capture_time)));
  }
  return Status(Code::kInvalid, "none of its versions is complete");
}

void AddRestoreCommand(CLI::App& root, int* exit_code) {
  auto options = std::make_shared<Options>();
  CLI::App* command =
      root.add_subcommand("restore", "Give back a version of a file or a directory");
  command->add_option("PATH", options->path, "The file, which may have been removed, or directory")
      ->required();
  auto* number = command
                     ->add_option("-n,--number", options->choice.number,
                                  "The version with this number (varve log PATH)")
                     ->check(CLI::PositiveNumber);
  auto* at = command->add_option(
      "--at", options->at,
      "The newest version captured not later than TIME: '2026-03-01 14:05', '14:05', '10 min ago'");
  auto* complete = command->add_flag("--latest-complete", options->choice.latest_complete,
                                     "The newest version that is complete");
  number->excludes(at)->excludes(complete);
  at->excludes(complete);
  command->add_option("--to", options->destination,
                      "Write to this file, or into this directory, instead of FILE");
  command->add_flag("--force", options->force, "Replace what exists at --to");
  command->footer(
      "Without -n, --at and --latest-complete: the newest version, if FILE is gone.\n"
      "Mode and modification time are those of the version; as root, the owner too. FILE is\n"
      "replaced by a rename, and what it was stays in its history.\n"
      "Examples:\n"
      "  varve restore /mnt/runs/run1/checkpoint-100/model.safetensors     # it was rotated away\n"
      "  varve restore -n 3 /mnt/runs/run1/last.pt                         # go back\n"
      "  varve restore --at '1h ago' --to /tmp/then.pt /mnt/runs/run1/last.pt\n"
      "  varve restore -n 7 --to /mnt/runs/run1-again /mnt/runs/run1      # a directory\n"
      "Without this program: cp /mnt/runs/run1/.varve/versions/last.pt/0003 /tmp/then.pt\n"
      "Exit status: 0 done, 1 failed, 3 not in a VarveFS mount.");
  command->callback([options, exit_code] { *exit_code = Run(*options); });
}

}  // namespace varve
