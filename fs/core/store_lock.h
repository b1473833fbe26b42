// STORE/lock: one process has a store at a time.
//
// An open-file-description lock, so it goes with the process however that ends.
// The file says who has it: "PID MOUNTPOINT\n".
#pragma once

#include <memory>
#include <string>

#include "store/base/result.h"
#include "store/base/unique_fd.h"

namespace varve {

class StoreLock {
 public:
  // Fails with kBusy and a sentence that names the holder. `holder` is what to
  // write about this process, a mount point or "fsck".
  static Result<StoreLock> Acquire(const std::string& store_path, const std::string& holder);

 private:
  explicit StoreLock(UniqueFd fd) : fd_(std::move(fd)) {}
  UniqueFd fd_;
};

}  // namespace varve
