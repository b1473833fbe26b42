// Waiting for what a daemon was asked to do: collections and scrubs.
//
// Threads: a free function.
// Errors:  as StatusReport; kNotFound, too, when another daemon has taken over: it knows
//          nothing of what was asked of the one before.
#pragma once

#include <functional>
#include <string>

#include "fs/cli/output.h"
#include "fs/cli/status_report.h"

namespace varve {

// Until all runs that `section` of the status says were asked for have ended; then the
// status. `show` is called now and then.
Result<StatusReport> AwaitRun(const Mount& mount, const std::string& section,
                              const std::function<void(const StatusReport&)>& show);
// Of collections, with a progress bar called `what`.
Result<StatusReport> AwaitCollection(const Mount& mount, const std::string& what);

}  // namespace varve
