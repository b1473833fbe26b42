// `varve fsck`: checks a store that is not mounted, and repairs it.
//
// Threads: free functions.
#pragma once

#include <string>

#include "fs/cli/exit_code.h"
#include "fs/core/fsck.h"

namespace varve {

// A sentence for each finding and note, then what was counted.
std::string DescribeFsck(const std::string& store, const FsckReport& report);
// docs/SEMANTICS.md, "varve fsck --json".
std::string FsckJson(const std::string& store, const FsckReport& report);
// kDamaged when anything was found, also when it was repaired.
ExitCode FsckExitCode(const FsckReport& report);

}  // namespace varve
