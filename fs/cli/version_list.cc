#include "fs/cli/version_list.h"

#include <dirent.h>
#include <fmt/format.h>
#include <sys/xattr.h>

#include <algorithm>
#include <cerrno>
#include <charconv>
#include <memory>

#include "fs/cli/output.h"

namespace varve {

std::optional<uint32_t> ParseVersionNumber(const std::string& name) {
  uint32_t number = 0;
  const char* end = name.data() + name.size();
  const auto parsed = std::from_chars(name.data(), end, number);
  if (name.size() < 4 || parsed.ec != std::errc() || parsed.ptr != end) return std::nullopt;
  return number;
}

std::optional<std::string> ReadAttribute(const std::string& path, const std::string& name) {
  std::string value(4096, '\0');
  const ssize_t size = lgetxattr(path.c_str(), name.c_str(), value.data(), value.size());
  if (size < 0) return std::nullopt;
  value.resize(static_cast<size_t>(size));
  return value;
}

Result<std::vector<std::string>> ListDirectory(const std::string& path) {
  struct Closer {
    void operator()(DIR* directory) const { closedir(directory); }
  };
  const std::unique_ptr<DIR, Closer> directory(opendir(path.c_str()));
  if (!directory) return Status::Errno(errno, "cannot list " + Printable(path));
  std::vector<std::string> names;
  for (;;) {
    errno = 0;
    const struct dirent* entry = readdir(directory.get());
    if (entry == nullptr) break;
    const std::string name = entry->d_name;
    if (name != "." && name != "..") names.push_back(name);
  }
  if (errno != 0) return Status::Errno(errno, "cannot list " + Printable(path));
  std::sort(names.begin(), names.end());
  return names;
}

Result<VersionedFile> FindVersionedFile(const std::string& path) {
  ASSIGN_OR_RETURN(const MountedPath found, FindMount(path));
  VersionedFile file;
  file.mount = found.mount;
  file.path = AbsolutePath(path);
  struct stat stat {};
  const bool exists = ::stat(file.path.c_str(), &stat) == 0;
  if (!exists && (errno == ENOTCONN || errno == ECONNABORTED)) {
    return Status(Code::kNotFound,
                  fmt::format("the daemon of {0} is gone; mount it again with: varve mount {1} {0}",
                              Printable(file.mount.root), Printable(file.mount.store)));
  }
  if (exists && S_ISDIR(stat.st_mode)) {
    return Status(Code::kInvalid,
                  fmt::format("{0} is a directory; name a file in it, or look into {0}/.varve/"
                              "versions",
                              Printable(file.path)));
  }
  const size_t slash = file.path.rfind('/');
  file.directory = file.path.substr(0, slash);
  file.name = file.path.substr(slash + 1);
  if (::stat(file.directory.c_str(), &stat) != 0) {
    if (errno != ENOENT) return Status::Errno(errno, Printable(file.directory));
    return Status(Code::kInvalid,
                  fmt::format("the directory {0} is gone; make it again with mkdir -p {0}: its "
                              "history comes back with its name",
                              Printable(file.directory)));
  }
  return file;
}

Result<std::vector<VersionInfo>> ListVersions(const VersionedFile& file) {
  const Result<std::vector<std::string>> names = ListDirectory(file.VersionsPath());
  std::vector<VersionInfo> versions;
  if (!names.ok() && names.status().os_errno() != ENOENT) return names.status();
  if (names.ok()) {
    for (const std::string& name : *names) {
      const std::optional<uint32_t> number = ParseVersionNumber(name);
      if (!number) continue;
      VersionInfo version;
      version.number = *number;
      version.path = file.VersionsPath() + "/" + name;
      struct stat stat {};
      if (lstat(version.path.c_str(), &stat) != 0) continue;  // dropped a moment ago
      version.capture_time = stat.st_mtim;
      version.size_bytes = static_cast<uint64_t>(stat.st_size);
      version.complete = ReadAttribute(version.path, "user.varve.complete") == "1";
      version.stored = ReadAttribute(version.path, "user.varve.stored") == "1";
      // Each attribute is a question to the daemon; what follows is not asked for.
      version.durable = version.stored || ReadAttribute(version.path, "user.varve.durable") == "1";
      version.format = ReadAttribute(version.path, "user.varve.format").value_or("");
      if (!version.complete) {
        version.incomplete = ReadAttribute(version.path, "user.varve.incomplete").value_or("");
      }
      versions.push_back(std::move(version));
    }
  }
  if (!versions.empty()) {
    std::sort(versions.begin(), versions.end(),
              [](const VersionInfo& a, const VersionInfo& b) { return a.number < b.number; });
    return versions;
  }
  struct stat stat {};
  if (lstat(file.path.c_str(), &stat) == 0) {
    return Status(Code::kInvalid,
                  fmt::format("{} has no version yet; a version is captured when the file is "
                              "closed after a change",
                              Printable(file.path)));
  }
  return Status(Code::kInvalid,
                fmt::format("there is no {0}, and no version of it; what has versions in that "
                            "directory: ls {1}/.varve/versions",
                            Printable(file.path), Printable(file.directory)));
}

}  // namespace varve
