// Who has a store open, from the lock that core holds on STORE/lock.
//
// Threads: free functions.
// Errors:  of open(2), with a sentence. A store without a lock file is free.
#pragma once

#include <sys/types.h>

#include <optional>
#include <string>

#include "store/base/result.h"

namespace varve {

struct StoreHolder {
  pid_t pid = 0;
  std::string mount_point;  // "" for who does not mount it: fsck
};

Result<std::optional<StoreHolder>> FindStoreHolder(const std::string& store_path);

// True while `holder` shows the store to anybody: else its daemon is finishing.
bool IsStillMounted(const StoreHolder& holder);

// Returns true once nobody holds the store, false after `timeout_ns` (< 0: never) or
// when it is mounted: that may last. Says on a terminal what it waits for.
Result<bool> WaitForStore(const std::string& store_path, int64_t timeout_ns);

}  // namespace varve
