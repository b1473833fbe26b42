#include <fmt/format.h>
#include <sys/stat.h>
#include <sys/xattr.h>
#include <unistd.h>

#include <CLI/CLI.hpp>
#include <cerrno>
#include <cstring>
#include <filesystem>
#include <memory>
#include <string>

#include "fs/cli/commands.h"
#include "fs/cli/exit_code.h"
#include "fs/cli/failure.h"
#include "fs/cli/mount_point.h"
#include "fs/cli/output.h"

namespace varve {
namespace {

struct CloneRequest {
  std::string original;
  std::string clone;
};

Status Refuse(std::string sentence) { return Status(Code::kInvalid, std::move(sentence)); }

std::string Reason(int error, const std::string& original) {
  switch (error) {
    case EPERM:
      return fmt::format("only root and the owner of {} may clone it; cp -r moves no data either",
                         original);
    case EXDEV:
      return fmt::format("{} lies in another mount; cp -r copies it", original);
    case EINVAL:
    case EOPNOTSUPP:
      return fmt::format("{} is no directory that can be cloned", original);
    default:
      return std::strerror(error);
  }
}

// What it is a clone of, as a symbolic link at its place would say it.
std::string SeenFrom(const std::string& clone, const std::string& original) {
  const std::filesystem::path from = std::filesystem::path(clone).parent_path();
  return std::filesystem::path(original).lexically_relative(from).string();
}

Status Clone(const CloneRequest& request) {
  struct stat stat {};
  const std::string shown = Printable(request.original);
  if (::stat(request.original.c_str(), &stat) != 0)
    return Refuse(fmt::format("{}: {}", shown, std::strerror(errno)));
  if (!S_ISDIR(stat.st_mode))
    return Refuse(fmt::format("{} is a file; cp copies it, and moves no data", shown));
  const std::string original = AbsolutePath(request.original);
  std::string clone = AbsolutePath(request.clone);
  while (clone.size() > 1 && clone.ends_with('/')) clone.pop_back();
  ASSIGN_OR_RETURN(const MountedPath from, FindMount(original));
  const Result<MountedPath> to = FindMount(clone);
  if (!to.ok() || to->mount.store != from.mount.store || to->mount.root != from.mount.root)
    return Refuse(
        fmt::format("{} is not in the store of {}, and nothing is shared between stores; "
                    "cp -r copies it",
                    Printable(request.clone), shown));
  if (mkdir(clone.c_str(), 0700) != 0)
    return Refuse(fmt::format("{}: {}", Printable(request.clone), std::strerror(errno)));
  const std::string path = SeenFrom(clone, original);
  int error = 0;
  if (setxattr(clone.c_str(), "user.varve.clone_of", path.data(), path.size(), 0) != 0)
    error = errno;
  if (error == 0 && chmod(clone.c_str(), stat.st_mode & 07777) != 0) error = errno;
  // Root's clone belongs to whom the original does, as with cp -a.
  if (error == 0 && geteuid() == 0 && lchown(clone.c_str(), stat.st_uid, stat.st_gid) != 0)
    error = errno;
  if (error == 0) return Status();
  rmdir(clone.c_str());
  return Refuse(fmt::format("{}: {}", Printable(request.clone), Reason(error, shown)));
}

}  // namespace

void AddCloneCommand(CLI::App& root, int* exit_code) {
  auto request = std::make_shared<CloneRequest>();
  CLI::App* const command =
      root.add_subcommand("clone", "Fork a directory of any size at once, in no extra room");
  command
      ->add_option("ORIGINAL", request->original,
                   "A directory; one in .varve/history is as it was then")
      ->required()
      ->type_name("");
  command->add_option("CLONE", request->clone, "The new directory, in the same mount")
      ->required()
      ->type_name("");
  command->callback([request, exit_code] {
    const Status made = Clone(*request);
    *exit_code = made.ok() ? kDone : Fail(made);
  });
}

}  // namespace varve
