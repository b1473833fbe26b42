#include "fs/cli/mount_report.h"

#include <fcntl.h>
#include <unistd.h>

#include <array>
#include <cerrno>

namespace varve {
namespace {

constexpr char kSaysLive = 'L';
constexpr char kSaysFailed = 'F';

}  // namespace

bool MountReporter::Send(const std::string& message) {
  if (reported_) return true;
  reported_ = true;
  if (!pipe_.valid()) return true;
  const ssize_t written = write(pipe_.get(), message.data(), message.size());
  pipe_.Reset();
  return written == static_cast<ssize_t>(message.size());
}

bool MountReporter::Live() { return Send({kSaysLive}); }

void MountReporter::Failed(const std::string& sentence) { Send(kSaysFailed + sentence); }

std::optional<MountOutcome> ReceiveOutcome(UniqueFd pipe) {
  std::string message;
  std::array<char, 4096> buffer;
  for (;;) {
    const ssize_t size = read(pipe.get(), buffer.data(), buffer.size());
    if (size < 0 && errno == EINTR) continue;
    if (size <= 0) break;
    message.append(buffer.data(), static_cast<size_t>(size));
  }
  if (message.empty()) return std::nullopt;
  return MountOutcome{message.front() == kSaysLive, message.substr(1)};
}

Result<MountPipe> MakeMountPipe() {
  int ends[2];
  if (pipe2(ends, O_CLOEXEC) != 0) return Status::Errno(errno, "pipe");
  return MountPipe{UniqueFd(ends[0]), UniqueFd(ends[1])};
}

}  // namespace varve
