// What stat(2) tells of an inode's record.
//
// Threads: a free function.
#pragma once

#include <sys/stat.h>

#include "fs/core/records.h"

namespace varve {

// `number`: what the user sees as its inode number.
struct stat StatOf(uint64_t number, const InodeRecord& record);

}  // namespace varve
