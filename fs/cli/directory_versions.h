// The versions of a directory, read through the mount.
//
// Threads: free functions.
// Errors:  a sentence and a remedy: kNotFound when the path is in no mount that works,
//          kInvalid when there is no such directory or version.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "store/base/result.h"

namespace varve {

struct DirectoryVersionInfo {
  uint32_t number = 0;
  std::string path;  // of the captured tree
  struct timespec capture_time {};
  std::string reason;            // "quiet", "renamed", "pinned", "read-only"
  std::optional<bool> complete;  // nothing: no recognised file is directly in it
  std::string incomplete;        // why it is not complete
  std::vector<std::string> pins;
};

// Whether it is a directory; then `log` and `restore` mean its tree.
bool IsDirectory(const std::string& path);

// Ascending; never empty.
Result<std::vector<DirectoryVersionInfo>> ListDirectoryVersions(const std::string& path);

std::string DescribeDirectoryVersions(const std::vector<DirectoryVersionInfo>& versions);
std::string DirectoryVersionsJson(const std::string& path,
                                  const std::vector<DirectoryVersionInfo>& versions);

}  // namespace varve
