#include "fs/cli/tree_copy.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <stdio.h>
#include <sys/stat.h>
#include <sys/xattr.h>
#include <unistd.h>

#include <cerrno>
#include <cstdlib>
#include <filesystem>
#include <map>
#include <utility>

#include "fs/cli/file_copy.h"
#include "fs/cli/output.h"
#include "fs/cli/version_list.h"

namespace varve {
namespace {

Status Failed(const char* what, const std::string& path) {
  return Status::Errno(errno, fmt::format("cannot {} {}", what, Printable(path)));
}

// A directory that vanishes with what is in it unless it was given its final name.
class TemporaryDirectory {
 public:
  static Result<TemporaryDirectory> Make(const std::string& destination) {
    const size_t slash = destination.rfind('/');
    std::string path = destination.substr(0, slash + 1) + ".varve-restore-XXXXXX";
    if (mkdtemp(path.data()) == nullptr)
      return Failed("write into", destination.substr(0, slash + 1));
    return TemporaryDirectory(std::move(path));
  }
  TemporaryDirectory(TemporaryDirectory&& other) noexcept : path_(std::exchange(other.path_, {})) {}
  TemporaryDirectory& operator=(TemporaryDirectory&&) = delete;
  ~TemporaryDirectory() {
    std::error_code ignored;
    if (!path_.empty()) std::filesystem::remove_all(path_, ignored);
  }

  const std::string& path() const { return path_; }
  Status RenameTo(const std::string& destination) {
    if (renameat2(AT_FDCWD, path_.c_str(), AT_FDCWD, destination.c_str(), RENAME_NOREPLACE) != 0)
      return Failed("make", destination);
    path_.clear();
    return Status();
  }

 private:
  explicit TemporaryDirectory(std::string path) : path_(std::move(path)) {}
  std::string path_;
};

class TreeCopy {
 public:
  explicit TreeCopy(const std::function<void(uint64_t)>& progress) : progress_(progress) {}

  // The directory `to` is there; its mode and times are set last.
  Status Directory(const std::string& from, const std::string& to) {
    struct stat stat {};
    if (lstat(from.c_str(), &stat) != 0) return Failed("read", from);
    ASSIGN_OR_RETURN(const std::vector<std::string> names, ListDirectory(from));
    for (const std::string& name : names) RETURN_IF_ERROR(One(from + "/" + name, to + "/" + name));
    return Finish(from, to, stat);
  }

 private:
  Status One(const std::string& from, const std::string& to) {
    struct stat stat {};
    if (lstat(from.c_str(), &stat) != 0) return Failed("read", from);
    if (S_ISDIR(stat.st_mode)) {
      if (mkdir(to.c_str(), 0700) != 0) return Failed("make", to);
      return Directory(from, to);
    }
    if (progress_) progress_(++files_);
    if (stat.st_nlink > 1) {
      const auto [first, fresh] = linked_.try_emplace(stat.st_ino, to);
      if (!fresh)
        return link(first->second.c_str(), to.c_str()) == 0 ? Status() : Failed("link", to);
    }
    if (S_ISREG(stat.st_mode)) {
      CopyTarget target;
      target.path = to;
      target.mode = stat.st_mode;
      target.modify_time = stat.st_mtim;
      target.uid = stat.st_uid;
      target.gid = stat.st_gid;
      RETURN_IF_ERROR(CopyFile(from, target, nullptr));
    } else if (S_ISLNK(stat.st_mode)) {
      std::string text(static_cast<size_t>(stat.st_size) + 1, '\0');
      const ssize_t size = readlink(from.c_str(), text.data(), text.size());
      if (size < 0) return Failed("read", from);
      text.resize(static_cast<size_t>(size));
      if (symlink(text.c_str(), to.c_str()) != 0) return Failed("make", to);
    } else if (mknod(to.c_str(), stat.st_mode, stat.st_rdev) != 0) {
      return Failed("make", to);
    }
    return Finish(from, to, stat);
  }

  static Status Finish(const std::string& from, const std::string& to, const struct stat& stat) {
    RETURN_IF_ERROR(Attributes(from, to));
    if (geteuid() == 0 && lchown(to.c_str(), stat.st_uid, stat.st_gid) != 0)
      return Failed("set the owner of", to);
    if (!S_ISLNK(stat.st_mode) && chmod(to.c_str(), stat.st_mode & 07777) != 0)
      return Failed("set the mode of", to);
    const struct timespec times[2] = {stat.st_atim, stat.st_mtim};
    if (utimensat(AT_FDCWD, to.c_str(), times, AT_SYMLINK_NOFOLLOW) != 0)
      return Failed("set the time of", to);
    return Status();
  }

  static Status Attributes(const std::string& from, const std::string& to) {
    std::string names(64 << 10, '\0');
    const ssize_t size = llistxattr(from.c_str(), names.data(), names.size());
    if (size < 0 && errno == EOPNOTSUPP) return Status();
    if (size < 0) return Failed("read the attributes of", from);
    names.resize(static_cast<size_t>(size));
    for (size_t at = 0; at < names.size(); at = names.find('\0', at) + 1) {
      const char* const name = names.c_str() + at;
      std::string value(64 << 10, '\0');
      const ssize_t length = lgetxattr(from.c_str(), name, value.data(), value.size());
      if (length < 0) return Failed("read the attributes of", from);
      if (lsetxattr(to.c_str(), name, value.data(), static_cast<size_t>(length), 0) == 0) continue;
      // Only root may set the others, and not every filesystem has any.
      if (errno != EPERM && errno != EOPNOTSUPP) return Failed("set the attributes of", to);
    }
    return Status();
  }

  const std::function<void(uint64_t)>& progress_;
  uint64_t files_ = 0;
  std::map<ino_t, std::string> linked_;
};

}  // namespace

Status CopyTree(const std::string& source, const std::string& target,
                const std::function<void(uint64_t files)>& progress) {
  ASSIGN_OR_RETURN(TemporaryDirectory directory, TemporaryDirectory::Make(target));
  RETURN_IF_ERROR(TreeCopy(progress).Directory(source, directory.path()));
  return directory.RenameTo(target);
}

}  // namespace varve
