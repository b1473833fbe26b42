// `varve sync`: waits until paths are captured, stored and safe from a power cut.
//
// Setting `user.varve.sync` starts the work and returns at once. A file is done
// when `user.varve.durable` is 1; a directory when nothing that was pending at the
// start is pending any more, and the index is committed as far as it was applied then.
//
// Threads: free functions.
#pragma once

#include "fs/cli/status_report.h"

namespace varve {

// Whether what was pending `elapsed_seconds` ago, when `before` was read, is done.
bool AllDone(const StatusReport& before, const StatusReport& now, double elapsed_seconds);

}  // namespace varve
