// `varve log`: the versions of a file, also of one that was removed.
//
// Threads: free functions.
#pragma once

#include <string>
#include <vector>

#include "fs/cli/version_list.h"

namespace varve {

// A table, newest last.
std::string DescribeVersions(const std::vector<VersionInfo>& versions);
// docs/SEMANTICS.md, "varve log --json".
std::string VersionsJson(const VersionedFile& file, const std::vector<VersionInfo>& versions);

}  // namespace varve
