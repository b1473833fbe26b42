#include "fs/fuse/unmount.h"

#include <fcntl.h>
#include <spawn.h>
#include <sys/mount.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <cstdlib>
#include <sstream>
#include <vector>

#include "store/base/unique_fd.h"

extern char** environ;

namespace varve {
namespace {

// Runs fusermount3, whose only errors that matter to us are told apart by the text.
Status RunFusermount(const std::string& mount_point, bool lazy) {
  const std::string program = FindFusermount();
  if (program.empty()) {
    return Status(Code::kUnsupported,
                  "fusermount3 is not installed (package fuse3); only root can do without it");
  }
  int ends[2];
  if (pipe2(ends, O_CLOEXEC) != 0) return Status::Errno(errno, "pipe");
  UniqueFd reading(ends[0]);
  UniqueFd writing(ends[1]);

  posix_spawn_file_actions_t actions;
  posix_spawn_file_actions_init(&actions);
  posix_spawn_file_actions_addopen(&actions, STDIN_FILENO, "/dev/null", O_RDONLY, 0);
  posix_spawn_file_actions_adddup2(&actions, writing.get(), STDOUT_FILENO);
  posix_spawn_file_actions_adddup2(&actions, writing.get(), STDERR_FILENO);
  std::vector<std::string> words = {program, "-u"};
  if (lazy) words.emplace_back("-z");
  words.insert(words.end(), {"--", mount_point});
  std::vector<char*> arguments;
  for (std::string& word : words) arguments.push_back(word.data());
  arguments.push_back(nullptr);
  pid_t child = 0;
  const int failure =
      posix_spawn(&child, program.c_str(), &actions, nullptr, arguments.data(), environ);
  posix_spawn_file_actions_destroy(&actions);
  if (failure != 0) return Status::Errno(failure, "running " + program);
  writing.Reset();

  std::string said;
  std::array<char, 512> buffer;
  for (ssize_t size = 0; (size = read(reading.get(), buffer.data(), buffer.size())) > 0;) {
    said.append(buffer.data(), static_cast<size_t>(size));
  }
  int status = 0;
  while (waitpid(child, &status, 0) < 0 && errno == EINTR) {
  }
  if (WIFEXITED(status) && WEXITSTATUS(status) == 0) return Status();
  if (said.find("busy") != std::string::npos) return Status::Errno(EBUSY, mount_point);
  while (!said.empty() && said.back() == '\n') said.pop_back();
  return Status::Errno(EPERM, said);
}

}  // namespace

std::string FindFusermount() {
  const char* const path = std::getenv("PATH");
  std::istringstream folders(std::string(path != nullptr ? path : "") + ":/usr/bin:/bin");
  for (std::string folder; std::getline(folders, folder, ':');) {
    const std::string program = folder + "/fusermount3";
    if (!folder.empty() && access(program.c_str(), X_OK) == 0) return program;
  }
  return "";
}

Status Unmount(const std::string& mount_point, UnmountOptions options) {
  const int flags = UMOUNT_NOFOLLOW | (options.lazy ? MNT_DETACH : 0);
  if (umount2(mount_point.c_str(), flags) == 0) return Status();
  if (errno != EPERM) return Status::Errno(errno, mount_point);
  return RunFusermount(mount_point, options.lazy);
}

}  // namespace varve
