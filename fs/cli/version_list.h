// The versions of a file, read through the mount.
//
// Threads: free functions.
// Errors:  a sentence and a remedy: kNotFound when the path is in no mount that works,
//          kInvalid when there is no such directory or version.
#pragma once

#include <sys/stat.h>

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "fs/cli/mount_point.h"
#include "store/base/result.h"

namespace varve {

// A file whose versions are asked for; it need not exist any more.
struct VersionedFile {
  Mount mount;
  std::string path;       // absolute
  std::string directory;  // that it is, or was, in
  std::string name;
  std::string VersionsPath() const { return directory + "/.varve/versions/" + name; }
};

struct VersionInfo {
  uint32_t number = 0;
  std::string path;  // of the version's file
  struct timespec capture_time {};
  uint64_t size_bytes = 0;
  bool complete = false;
  bool durable = false;
  bool stored = false;
  std::string format;
  std::string incomplete;  // why it is not complete
};

// Fails also when the path is a directory.
Result<VersionedFile> FindVersionedFile(const std::string& path);

// Ascending; never empty.
Result<std::vector<VersionInfo>> ListVersions(const VersionedFile& file);

// "0001" -> 1; nothing for other names, `latest` among them.
std::optional<uint32_t> ParseVersionNumber(const std::string& name);

// An extended attribute; nothing if it is not there or cannot be read.
std::optional<std::string> ReadAttribute(const std::string& path, const std::string& name);

// Names in a directory, sorted, "." and ".." left out. Status::Errno.
Result<std::vector<std::string>> ListDirectory(const std::string& path);

}  // namespace varve
