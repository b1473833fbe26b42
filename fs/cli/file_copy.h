// Copies one file to a path, all or nothing.
//
// The bytes go to a temporary file beside the destination, which then takes the
// destination's name; who has the old file open keeps reading it.
//
// Threads: a free function.
// Errors:  a sentence with the path in question and the errno; the destination is as
//          it was, and the temporary file gone.
#pragma once

#include <sys/stat.h>

#include <functional>
#include <string>

#include "store/base/result.h"

namespace varve {

struct CopyTarget {
  std::string path;
  mode_t mode = 0644;
  struct timespec modify_time {};
  uid_t uid = 0;  // set only by root
  gid_t gid = 0;
  bool replace = false;  // else EEXIST when the path exists
};

// Fails with kIo when the source is shorter than its size says. `progress` is told
// how much of how much is done; it may be empty.
Status CopyFile(const std::string& source, const CopyTarget& target,
                const std::function<void(uint64_t done, uint64_t total)>& progress);

}  // namespace varve
