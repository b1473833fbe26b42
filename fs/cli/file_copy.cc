#include "fs/cli/file_copy.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/sendfile.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdio>
#include <cstdlib>

#include "fs/cli/output.h"
#include "store/base/unique_fd.h"

namespace varve {
namespace {

// Between two looks at the progress bar.
constexpr size_t kStepBytes = size_t{64} << 20;

// A file that vanishes unless it was given its final name.
class TemporaryFile {
 public:
  static Result<TemporaryFile> Make(const std::string& destination) {
    const size_t slash = destination.rfind('/');
    std::string path = destination.substr(0, slash + 1) + ".varve-restore-XXXXXX";
    const int descriptor = mkostemp(path.data(), O_CLOEXEC);
    if (descriptor < 0) {
      return Status::Errno(errno, "cannot write into " + Printable(path.substr(0, slash + 1)));
    }
    return TemporaryFile(std::move(path), UniqueFd(descriptor));
  }
  TemporaryFile(TemporaryFile&& other) noexcept
      : path_(std::exchange(other.path_, {})), descriptor_(std::move(other.descriptor_)) {}
  TemporaryFile& operator=(TemporaryFile&&) = delete;
  ~TemporaryFile() {
    if (!path_.empty()) unlink(path_.c_str());
  }

  int descriptor() const { return descriptor_.get(); }

  // A write error may be reported as late as by close.
  Status Close() {
    if (close(descriptor_.Release()) == 0) return Status();
    return Status::Errno(errno, "cannot write " + Printable(path_));
  }
  Status RenameTo(const std::string& destination, bool replace) {
    const int done = replace ? rename(path_.c_str(), destination.c_str())
                             : renameat2(AT_FDCWD, path_.c_str(), AT_FDCWD, destination.c_str(),
                                         RENAME_NOREPLACE);
    if (done != 0) return Status::Errno(errno, "cannot make " + Printable(destination));
    path_.clear();
    return Status();
  }

 private:
  TemporaryFile(std::string path, UniqueFd descriptor)
      : path_(std::move(path)), descriptor_(std::move(descriptor)) {}

  std::string path_;
  UniqueFd descriptor_;
};

bool CannotCopyInKernel(int os_errno) {
  return os_errno == EXDEV || os_errno == EINVAL || os_errno == ENOSYS || os_errno == EOPNOTSUPP ||
         os_errno == EBADF || os_errno == EPERM;
}

// Moves up to `size` bytes from where both descriptors are. copy_file_range lets
// the filesystem share them; sendfile works between any two filesystems.
ssize_t MoveBytes(int source, int target, size_t size, bool* in_kernel) {
  if (*in_kernel) {
    const ssize_t moved = copy_file_range(source, nullptr, target, nullptr, size, 0);
    // Some filesystems report nothing copied for what they cannot copy.
    if (moved > 0 || (moved < 0 && !CannotCopyInKernel(errno))) return moved;
    *in_kernel = false;
  }
  return sendfile(target, source, nullptr, size);
}

}  // namespace

Status CopyFile(const std::string& source, const CopyTarget& target,
                const std::function<void(uint64_t done, uint64_t total)>& progress) {
  const UniqueFd from(open(source.c_str(), O_RDONLY | O_CLOEXEC));
  if (!from.valid()) return Status::Errno(errno, "cannot open " + Printable(source));
  struct stat stat {};
  if (fstat(from.get(), &stat) != 0) return Status::Errno(errno, Printable(source));
  const auto total_bytes = static_cast<uint64_t>(stat.st_size);
  ASSIGN_OR_RETURN(TemporaryFile to, TemporaryFile::Make(target.path));
  bool in_kernel = true;
  uint64_t done_bytes = 0;
  while (done_bytes < total_bytes) {
    const size_t step_bytes =
        static_cast<size_t>(std::min<uint64_t>(kStepBytes, total_bytes - done_bytes));
    const ssize_t moved = MoveBytes(from.get(), to.descriptor(), step_bytes, &in_kernel);
    if (moved < 0 && errno == EINTR) continue;
    if (moved < 0) {
      return Status::Errno(
          errno, fmt::format("cannot copy {} to {}", Printable(source), Printable(target.path)));
    }
    if (moved == 0) {
      return Status(Code::kIo, fmt::format("{} ends after {} of {} bytes", Printable(source),
                                           done_bytes, total_bytes));
    }
    done_bytes += static_cast<uint64_t>(moved);
    if (progress) progress(done_bytes, total_bytes);
  }
  if (geteuid() == 0 && fchown(to.descriptor(), target.uid, target.gid) != 0) {
    return Status::Errno(errno, "cannot set the owner of " + Printable(target.path));
  }
  // After the owner, because changing that clears set-id bits.
  const struct timespec times[2] = {{0, UTIME_OMIT}, target.modify_time};
  if (fchmod(to.descriptor(), target.mode & 07777) != 0 || futimens(to.descriptor(), times) != 0) {
    return Status::Errno(errno, "cannot set mode and time of " + Printable(target.path));
  }
  RETURN_IF_ERROR(to.Close());
  return to.RenameTo(target.path, target.replace);
}

}  // namespace varve
