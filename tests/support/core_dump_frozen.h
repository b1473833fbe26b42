// All that a captured tree shows, read through the calls that the kernel makes.
//
// Threads: free functions.
#pragma once

#include <map>
#include <string>
#include <vector>

#include "fs/core/frozen_nodes.h"
#include "tests/support/core_dump.h"

namespace varve::testing {

// Adds what `root` shows, by the numbers that its inodes had. Returns what could not be
// read, with its path.
std::vector<std::string> DumpFrozen(StoreParts& parts, const FrozenRoot& root,
                                    std::map<InodeNumber, DumpedNode>* nodes);

}  // namespace varve::testing
