// Copies a directory with everything in it to a path, all or nothing: bytes, modes,
// times, symbolic and hard links, extended attributes; as root, owners and devices.
//
// Threads: a free function.
// Errors:  a sentence with the path in question and the errno; nothing is left behind.
#pragma once

#include <functional>
#include <string>

#include "store/base/result.h"

namespace varve {

// Fails when `target` exists. `progress` is told how many files were copied; it may be
// empty.
Status CopyTree(const std::string& source, const std::string& target,
                const std::function<void(uint64_t files)>& progress);

}  // namespace varve
