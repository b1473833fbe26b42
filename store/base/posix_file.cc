#include "store/base/posix_file.h"

#include <fcntl.h>
#include <linux/fs.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include <algorithm>
#include <csignal>
#include <limits>
#include <vector>

namespace varve {
namespace {

// O_DIRECT wants offsets and sizes in logical blocks, which are never smaller.
constexpr size_t kSectorBytes = 512;
// What the kernel transfers in one call at most, rounded to a round number.
constexpr size_t kTransferBytesMax = size_t{1} << 30;
constexpr size_t kCopyBufferBytes = size_t{256} << 10;

constexpr bool FitsOffset(uint64_t offset, uint64_t size) {
  constexpr auto kMax = static_cast<uint64_t>(std::numeric_limits<off_t>::max());
  return offset <= kMax && size <= kMax - offset;
}

// Repeats a call that a signal interrupted.
template <typename Call>
auto Uninterrupted(Call call) {
  decltype(call()) result;
  do {
    result = call();
  } while (result < 0 && errno == EINTR);
  return result;
}

// Errors of copy_file_range and FICLONERANGE that mean "not that way".
bool CopyUnsupported(int os_errno) {
  return os_errno == EXDEV || os_errno == EINVAL || os_errno == EOPNOTSUPP || os_errno == ENOTTY ||
         os_errno == ENOSYS || os_errno == ETXTBSY || os_errno == EPERM;
}

}  // namespace

Status PosixFile::Failure(const char* verb) const {
  const int os_errno = errno;
  return Status::Errno(os_errno, std::string(verb) + " " + path_);
}

Result<size_t> PosixFile::ReadAt(uint64_t offset, MutableBytes out) {
  if (!FitsOffset(offset, out.size())) return Status::Errno(EINVAL, "read " + path_);
  size_t done = 0;
  while (done < out.size()) {
    const size_t want = std::min(out.size() - done, kTransferBytesMax);
    const ssize_t got = Uninterrupted([&] {
      return ::pread(descriptor(), out.data() + done, want, static_cast<off_t>(offset + done));
    });
    if (got < 0) return Failure("read");
    if (got == 0) break;
    done += static_cast<size_t>(got);
    // The end of the file; reading on from there would be a misaligned offset.
    if (direct_ && static_cast<size_t>(got) % kSectorBytes != 0) break;
  }
  return done;
}

Status PosixFile::WriteAt(uint64_t offset, ByteView bytes) {
  if (!FitsOffset(offset, bytes.size())) return Status::Errno(EFBIG, "write " + path_);
  size_t done = 0;
  while (done < bytes.size()) {
    const size_t want = std::min(bytes.size() - done, kTransferBytesMax);
    const ssize_t put = Uninterrupted([&] {
      return ::pwrite(descriptor(), bytes.data() + done, want, static_cast<off_t>(offset + done));
    });
    if (put < 0) return Failure("write");
    if (put == 0) return Status::Errno(EIO, "write " + path_);
    done += static_cast<size_t>(put);
  }
  return {};
}

Status PosixFile::Truncate(uint64_t size) {
  if (!FitsOffset(size, 0)) return Status::Errno(EFBIG, "truncate " + path_);
  const auto target = static_cast<off_t>(size);
  if (Uninterrupted([&] { return ::ftruncate(descriptor(), target); }) != 0) {
    return Failure("truncate");
  }
  return {};
}

Status PosixFile::Allocate(int mode, uint64_t offset, uint64_t size) {
  if (!FitsOffset(offset, size)) return Status::Errno(EFBIG, "allocate " + path_);
  if (Uninterrupted([&] {
        return ::fallocate(descriptor(), mode, static_cast<off_t>(offset),
                           static_cast<off_t>(size));
      }) != 0) {
    return Failure("allocate");
  }
  return {};
}

Result<uint64_t> PosixFile::Seek(uint64_t offset, int whence) {
  if (!FitsOffset(offset, 0)) return Status::Errno(ENXIO, "seek " + path_);
  const off_t found = ::lseek(descriptor(), static_cast<off_t>(offset), whence);
  if (found < 0) return Failure("seek");
  return static_cast<uint64_t>(found);
}

Result<uint64_t> PosixFile::CopyFrom(File& source, uint64_t source_offset, uint64_t offset,
                                     uint64_t size) {
  ASSIGN_OR_RETURN(const struct stat source_stat, source.Stat());
  const auto source_size = static_cast<uint64_t>(source_stat.st_size);
  if (source_offset >= source_size) return uint64_t{0};
  size = std::min(size, source_size - source_offset);
  if (!FitsOffset(offset, size)) return Status::Errno(EFBIG, "copy to " + path_);
  if (source_offset == 0 && size == source_size) {
    const struct file_clone_range range = {source.descriptor(), 0, size, offset};
    if (Uninterrupted([&] { return ::ioctl(descriptor(), FICLONERANGE, &range); }) == 0) {
      return size;
    }
    if (!CopyUnsupported(errno)) return Failure("clone to");
  }
  uint64_t done = 0;
  while (done < size) {
    const uint64_t from = source_offset + done;
    Result<uint64_t> data = source.Seek(from, SEEK_DATA);
    if (!data.ok() && data.status().os_errno() != ENXIO) data = from;  // no holes on this disk
    const uint64_t data_start =
        data.ok() ? std::min(*data, source_offset + size) : source_offset + size;
    if (data_start > from) {
      RETURN_IF_ERROR(CopyHole(offset + done, data_start - from));
      done += data_start - from;
      continue;
    }
    const Result<uint64_t> hole = source.Seek(from, SEEK_HOLE);
    const uint64_t data_end =
        hole.ok() ? std::min(*hole, source_offset + size) : source_offset + size;
    RETURN_IF_ERROR(CopyData(source, from, offset + done, data_end - from));
    done += data_end - from;
  }
  return done;
}

Status PosixFile::CopyData(File& source, uint64_t source_offset, uint64_t offset, uint64_t size) {
  auto from = static_cast<off_t>(source_offset);
  auto to = static_cast<off_t>(offset);
  uint64_t left = size;
  while (left > 0) {
    const size_t want = static_cast<size_t>(std::min<uint64_t>(left, kTransferBytesMax));
    const ssize_t copied = Uninterrupted(
        [&] { return ::copy_file_range(source.descriptor(), &from, descriptor(), &to, want, 0); });
    if (copied < 0 && !CopyUnsupported(errno)) return Failure("copy to");
    // Some kernels answer 0 where they cannot copy; memory decides.
    if (copied <= 0) break;
    left -= static_cast<uint64_t>(copied);
  }
  if (left == 0) return {};
  return CopyThroughMemory(source, source_offset + (size - left), offset + (size - left), left);
}

Status PosixFile::CopyThroughMemory(File& source, uint64_t source_offset, uint64_t offset,
                                    uint64_t size) {
  std::vector<uint8_t> buffer(static_cast<size_t>(std::min<uint64_t>(size, kCopyBufferBytes)));
  uint64_t done = 0;
  while (done < size) {
    const size_t want = static_cast<size_t>(std::min<uint64_t>(size - done, buffer.size()));
    ASSIGN_OR_RETURN(const size_t got,
                     source.ReadAt(source_offset + done, MutableBytes(buffer.data(), want)));
    if (got == 0) return Status(Code::kBusy, "the source of the copy to " + path_ + " shrank");
    RETURN_IF_ERROR(WriteAt(offset + done, ByteView(buffer.data(), got)));
    done += got;
  }
  return {};
}

Status PosixFile::CopyHole(uint64_t offset, uint64_t size) {
  ASSIGN_OR_RETURN(const struct stat own, Stat());
  const auto own_size = static_cast<uint64_t>(own.st_size);
  if (offset < own_size) {
    const uint64_t inside = std::min(size, own_size - offset);
    RETURN_IF_ERROR(Allocate(FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, offset, inside));
  }
  if (offset + size <= own_size) return {};
  // One byte and no ftruncate: somebody may be extending the file right now.
  static constexpr uint8_t kZero[1] = {0};
  return WriteAt(offset + size - 1, kZero);
}

Status PosixFile::SyncData() {
  if (Uninterrupted([&] { return ::fdatasync(descriptor()); }) != 0) return Failure("sync");
  return {};
}

Result<struct stat> PosixFile::Stat() {
  struct stat attributes;
  if (::fstat(descriptor(), &attributes) != 0) return Failure("stat");
  return attributes;
}

Status PosixFile::SetTimes(const struct timespec times[2]) {
  if (::futimens(descriptor(), times) != 0) return Failure("set the times of");
  return {};
}

Status PosixFile::AcquireLease() {
  // First, so that no break can be announced by the default signal.
  if (::fcntl(descriptor(), F_SETSIG, SIGURG) != 0) return Failure("lease");
  if (::fcntl(descriptor(), F_SETLEASE, F_RDLCK) == 0) return {};
  if (errno == EAGAIN || errno == EBUSY) return Status(Code::kBusy);
  if (errno == EINVAL || errno == EACCES || errno == EPERM || errno == ENOLCK || errno == ENOSYS ||
      errno == EOPNOTSUPP) {
    return Status(Code::kUnsupported, "lease " + path_);
  }
  return Failure("lease");
}

bool PosixFile::LeaseHolds() { return ::fcntl(descriptor(), F_GETLEASE) == F_RDLCK; }

void PosixFile::DropLease() { ::fcntl(descriptor(), F_SETLEASE, F_UNLCK); }

// The kernel grants a write lease only to a file's one and only opener.
bool PosixFile::IsUsedAlone() {
  if (::fcntl(descriptor(), F_SETSIG, SIGURG) != 0) return false;
  if (::fcntl(descriptor(), F_SETLEASE, F_WRLCK) != 0) return false;
  DropLease();
  return true;
}

}  // namespace varve
