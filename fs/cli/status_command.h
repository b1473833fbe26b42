// `varve status`: what a mount is doing, in sentences or as JSON.
//
// Threads: free functions.
#pragma once

#include <string>

#include "fs/cli/status_report.h"

namespace varve {

// The human form: a few lines, one subject each.
std::string DescribeStatus(const Mount& mount, const StatusReport& report);

}  // namespace varve
