// `varve stats`: how many bytes were captured, how many are stored, what was saved.
//
// Threads: free functions.
#pragma once

#include <cstdint>
#include <string>

#include "store/base/result.h"

namespace varve {

// What the versions below a path add up to, before anything is shared.
struct VersionTotals {
  uint64_t files = 0;  // names that have versions
  uint64_t versions = 0;
  uint64_t logical_bytes = 0;
};

// Of one file, or of the files directly in a directory, removed ones included.
Result<VersionTotals> SumVersions(const std::string& path);

}  // namespace varve
