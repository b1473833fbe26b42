#include "fs/core/store_lock.h"

#include <fcntl.h>
#include <unistd.h>

#include <chrono>
#include <thread>

namespace varve {
namespace {

// The kernel lets go of a dead process's files when it is done with their io_uring.
constexpr std::chrono::seconds kDeadHolderWait{5};

// "PID MOUNTPOINT", or "".
std::string ReadHolder(int fd) {
  char text[4096] = {};
  const ssize_t got = pread(fd, text, sizeof(text) - 1, 0);
  std::string who(text, got > 0 ? static_cast<size_t>(got) : 0);
  while (!who.empty() && who.back() == '\n') who.pop_back();
  return who;
}

// A process that has ended has no program, be it waited for or not.
bool IsDead(const std::string& who) {
  char target[1];
  const std::string program = "/proc/" + who.substr(0, who.find(' ')) + "/exe";
  return readlink(program.c_str(), target, sizeof(target)) < 0 && errno == ENOENT;
}

}  // namespace

Result<StoreLock> StoreLock::Acquire(const std::string& store_path, const std::string& holder) {
  const std::string path = store_path + "/lock";
  UniqueFd fd(open(path.c_str(), O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600));
  if (!fd.valid()) return Status::Errno(errno, "cannot open " + path);
  struct flock lock {};
  lock.l_type = F_WRLCK;
  lock.l_whence = SEEK_SET;
  const auto give_up = std::chrono::steady_clock::now() + kDeadHolderWait;
  while (fcntl(fd.get(), F_OFD_SETLK, &lock) != 0) {
    if (errno != EAGAIN && errno != EACCES) return Status::Errno(errno, "cannot lock " + path);
    const std::string who = ReadHolder(fd.get());
    if (IsDead(who) && std::chrono::steady_clock::now() < give_up) {
      std::this_thread::sleep_for(std::chrono::milliseconds(10));
      continue;
    }
    const size_t space = who.find(' ');
    std::string sentence = store_path + " is in use";
    if (space != std::string::npos)
      sentence +=
          ": process " + who.substr(0, space) + " has it mounted at " + who.substr(space + 1);
    return Status(Code::kBusy, sentence);
  }
  const std::string line = std::to_string(getpid()) + " " + holder + "\n";
  if (ftruncate(fd.get(), 0) != 0 ||
      pwrite(fd.get(), line.data(), line.size(), 0) != static_cast<ssize_t>(line.size()))
    return Status::Errno(errno, "cannot write " + path);
  return StoreLock(std::move(fd));
}

}  // namespace varve
