// `varve restore`: gives back a version of a file.
//
// Threads: free functions.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "fs/cli/version_list.h"

namespace varve {

// Which version; exactly one of them is asked for, or none.
struct VersionChoice {
  uint32_t number = 0;  // 0: not asked for
  std::optional<struct timespec> not_after;
  bool latest_complete = false;
};

// Nothing asked for: the newest one. Fails with kInvalid and a sentence.
Result<VersionInfo> ChooseVersion(const std::vector<VersionInfo>& versions,
                                  const VersionChoice& choice);

}  // namespace varve
