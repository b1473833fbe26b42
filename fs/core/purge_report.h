// What is to be purged, and what a purge did.
//
// Threads: values.
// Memory:  at most kPathBytesMax of paths; those that do not fit are only counted.
// Format:  docs/SEMANTICS.md, "Purging".
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "fs/core/keys.h"

namespace varve {

struct PurgeRequest {
  HistoryId history = 0;  // of the directory
  std::string name;       // in it
  std::string path;       // for the report
};

struct PurgeReport {
  // Of the paths; with them it fits into the value of an attribute.
  static constexpr size_t kPathBytesMax = 40 << 10;

  std::string path;
  bool dry_run = false;
  uint64_t contents = 0;
  uint64_t content_bytes = 0;
  uint64_t versions = 0;           // of files, that named them
  uint64_t live_contents = 0;      // not purged: a live file or a clone shows them
  uint64_t busy_contents = 0;      // not purged: open, or not stored yet
  uint64_t packs_left = 0;         // that still hold some of it
  uint64_t users = 0;              // names of what still holds some of the same bytes
  std::vector<std::string> paths;  // of those, as many as fit
  std::string error;               // "" when it came to its end
};

// One JSON object; a name need not be UTF-8, and what is not becomes U+FFFD.
std::string PurgeReportJson(const PurgeReport& report);

}  // namespace varve
