// How a command ends when something failed.
//
// Threads: free functions.
#pragma once

#include "fs/cli/exit_code.h"
#include "store/base/result.h"

namespace varve {

// Prints the sentence of a failed Status and says which exit code it stands for:
// kNotFound is a mount that is not there (kNotMounted), kCorrupt is damage, kBusy is
// what goes on behind it (kIncomplete); all else, and all that has an errno, is kFailed.
ExitCode Fail(const Status& status);

}  // namespace varve
