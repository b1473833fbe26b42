// Reports that the root of a mount has as attributes, because not everybody may read them.
//
// Threads: a free function.
// Errors:  with a sentence, when it cannot be read or is not JSON.
#pragma once

#include <string>

#include "fs/cli/mount_point.h"

namespace varve {

// The text of a JSON object.
Result<std::string> ReadReportAttribute(const Mount& mount, const std::string& attribute);

}  // namespace varve
