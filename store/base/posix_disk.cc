#include "store/base/posix_disk.h"

#include <dirent.h>
#include <fcntl.h>
#include <linux/fs.h>
#include <sys/ioctl.h>
#include <sys/syscall.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include <array>
#include <cstdio>

#include "store/base/posix_file.h"

namespace varve {
namespace {

constexpr mode_t kFileMode = 0600;
constexpr mode_t kDirectoryMode = 0700;

// FS_IOC_GETFSSYSFSPATH of Linux 6.9, newer than the headers of the oldest supported system.
constexpr size_t kSysfsPathBytes = 128;
constexpr unsigned long kGetSysfsPath = _IOC(_IOC_READ, 0x15, 1, 1 + kSysfsPathBytes);

Status Failure(const char* verb, const std::string& path) {
  const int os_errno = errno;
  return Status::Errno(os_errno, std::string(verb) + " " + path);
}

int FlagsOf(OpenMode mode) {
  switch (mode) {
    case OpenMode::kRead:
      return O_RDONLY;
    case OpenMode::kReadWrite:
      return O_RDWR;
    case OpenMode::kCreate:
      return O_RDWR | O_CREAT;
    case OpenMode::kCreateNew:
      return O_RDWR | O_CREAT | O_EXCL;
  }
  return O_RDONLY;
}

int OpenRelative(int directory, const std::string& path, int flags) {
  int descriptor;
  do {
    descriptor = ::openat(directory, path.c_str(), flags | O_CLOEXEC | O_NOFOLLOW, kFileMode);
  } while (descriptor < 0 && errno == EINTR);
  return descriptor;
}

// The first line of a file of /proc or /sys, empty if it cannot be read.
std::string FirstLine(const std::string& path) {
  const UniqueFd file(::open(path.c_str(), O_RDONLY | O_CLOEXEC));
  if (!file.valid()) return {};
  std::array<char, 128> text{};
  const ssize_t got = ::read(file.get(), text.data(), text.size());
  if (got <= 0) return {};
  const std::string line(text.data(), static_cast<size_t>(got));
  return line.substr(0, line.find('\n'));
}

// Where the filesystem has a directory of its own below /sys/fs, that directory
// is made when the disk is mounted and goes when the last mount of it goes, and
// its inode number is not soon given again. Other than a mount's id it is the
// same for bind mounts and in the mount namespaces of containers.
std::string MountedDiskId(int root, dev_t device) {
  std::array<char, 1 + kSysfsPathBytes + 1> answer{};  // a length, the path, our terminator
  std::vector<std::string> candidates;
  if (::ioctl(root, kGetSysfsPath, answer.data()) == 0) candidates.emplace_back(answer.data() + 1);
  std::array<char, 256> target{};
  const std::string block =
      "/sys/dev/block/" + std::to_string(major(device)) + ":" + std::to_string(minor(device));
  const ssize_t got = ::readlink(block.c_str(), target.data(), target.size());
  if (got > 0) {
    const std::string link(target.data(), static_cast<size_t>(got));
    const std::string name = link.substr(link.rfind('/') + 1);
    for (const char* type : {"ext4/", "xfs/", "f2fs/"}) candidates.push_back(type + name);
  }
  for (const std::string& candidate : candidates) {
    struct stat attributes;
    if (::stat(("/sys/fs/" + candidate).c_str(), &attributes) == 0) {
      return candidate + ":" + std::to_string(attributes.st_ino);
    }
  }
  return {};
}

std::string MountId(int root) {
#if defined(STATX_MNT_ID_UNIQUE)
  constexpr unsigned kUnique = STATX_MNT_ID_UNIQUE;
#else
  constexpr unsigned kUnique = 0x4000;  // linux 6.8
#endif
  struct statx attributes = {};
  for (const unsigned mask : {kUnique, static_cast<unsigned>(STATX_MNT_ID)}) {
    if (::statx(root, "", AT_EMPTY_PATH, mask, &attributes) == 0 &&
        (attributes.stx_mask & mask) != 0) {
      return "mount:" + std::to_string(attributes.stx_mnt_id);
    }
  }
  return "mount:unknown";
}

}  // namespace

Result<std::unique_ptr<PosixDisk>> PosixDisk::Open(const std::string& path) {
  UniqueFd root(OpenRelative(AT_FDCWD, path, O_RDONLY | O_DIRECTORY));
  if (!root.valid()) return Failure("open", path);
  return std::unique_ptr<PosixDisk>(new PosixDisk(std::move(root)));
}

Result<std::unique_ptr<File>> PosixDisk::Open(const std::string& path, OpenMode mode,
                                              OpenOptions options) {
  const int flags = FlagsOf(mode);
  UniqueFd file;
  bool direct = options.direct;
  if (direct) {
    file.Reset(OpenRelative(root_.get(), path, flags | O_DIRECT));
    // A filesystem may refuse O_DIRECT after it has created the file.
    if (!file.valid() && errno == EINVAL) {
      direct = false;
      file.Reset(OpenRelative(root_.get(), path, flags & ~O_EXCL));
    }
  } else {
    file.Reset(OpenRelative(root_.get(), path, flags));
  }
  if (!file.valid()) return Failure("open", path);
  return std::unique_ptr<File>(std::make_unique<PosixFile>(std::move(file), path, direct));
}

Status PosixDisk::Remove(const std::string& path) {
  if (::unlinkat(root_.get(), path.c_str(), 0) == 0) return {};
  if (errno == EISDIR && ::unlinkat(root_.get(), path.c_str(), AT_REMOVEDIR) == 0) return {};
  return Failure("remove", path);
}

Status PosixDisk::Rename(const std::string& from, const std::string& to) {
  if (::renameat(root_.get(), from.c_str(), root_.get(), to.c_str()) == 0) return {};
  return Failure("rename", from + " to " + to);
}

Status PosixDisk::MakeDirectory(const std::string& path) {
  if (::mkdirat(root_.get(), path.c_str(), kDirectoryMode) == 0) return {};
  const Status failure = Failure("make directory", path);
  if (failure.code() != Code::kExists) return failure;
  struct stat attributes;
  if (::fstatat(root_.get(), path.c_str(), &attributes, AT_SYMLINK_NOFOLLOW) != 0) {
    return Failure("stat", path);
  }
  return S_ISDIR(attributes.st_mode) ? Status() : failure;
}

Result<UniqueFd> PosixDisk::OpenDirectory(const std::string& path) {
  UniqueFd directory(OpenRelative(root_.get(), path, O_RDONLY | O_DIRECTORY));
  if (!directory.valid()) return Failure("open directory", path);
  return directory;
}

Result<std::vector<std::string>> PosixDisk::List(const std::string& path) {
  ASSIGN_OR_RETURN(UniqueFd descriptor, OpenDirectory(path));
  const std::unique_ptr<DIR, int (*)(DIR*)> stream(::fdopendir(descriptor.get()), ::closedir);
  if (!stream) return Failure("list", path);
  descriptor.Release();  // the stream closes it
  std::vector<std::string> names;
  for (;;) {
    errno = 0;
    const struct dirent* entry = ::readdir(stream.get());
    if (entry == nullptr) break;
    const std::string_view name = entry->d_name;
    if (name != "." && name != "..") names.emplace_back(name);
  }
  if (errno != 0) return Failure("list", path);
  return names;
}

Result<struct stat> PosixDisk::Stat(const std::string& path) {
  struct stat attributes;
  if (::fstatat(root_.get(), path.c_str(), &attributes, AT_SYMLINK_NOFOLLOW) != 0) {
    return Failure("stat", path);
  }
  return attributes;
}

Status PosixDisk::SyncDirectory(const std::string& path) {
  ASSIGN_OR_RETURN(const UniqueFd directory, OpenDirectory(path));
  int outcome;
  do {
    outcome = ::fsync(directory.get());
  } while (outcome != 0 && errno == EINTR);
  return outcome == 0 ? Status() : Failure("sync directory", path);
}

Result<struct statvfs> PosixDisk::Space() {
  struct statvfs space;
  if (::fstatvfs(root_.get(), &space) != 0) return Failure("stat the filesystem of", ".");
  return space;
}

std::string PosixDisk::PowerEpoch() {
  struct stat attributes = {};
  // A descriptor that is open can be asked; a failure would only make the epoch differ.
  if (::fstat(root_.get(), &attributes) != 0) return "unknown";
  std::string mounted = MountedDiskId(root_.get(), attributes.st_dev);
  if (mounted.empty()) mounted = MountId(root_.get());
  return FirstLine("/proc/sys/kernel/random/boot_id") + "/" + std::to_string(attributes.st_dev) +
         "/" + mounted;
}

}  // namespace varve
