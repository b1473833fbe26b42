// Mounts whose daemon has died: they fail every call, and stay until they are taken away.
//
// Threads: free functions.
// Errors:  a context is a sentence for the user.
#pragma once

#include <string>

#include "store/base/result.h"

namespace varve {

// Is it what every call on a mount fails with whose daemon has died?
bool IsDeadMountError(int os_errno);

// Does the mount that `path` lies in, of whatever kind, still answer? REQUIRES that no
// daemon holds it that might be stopped: the call would wait for it.
bool IsDead(const std::string& path);

// Takes the dead VarveFS mount away that `path` lies in, and says so on stderr.
// Fails with kInvalid if there is none of ours, or it is another user's.
Status RemoveDeadMount(const std::string& path);

// Takes every dead mount of a store away. What is another user's stays.
// REQUIRES: nobody holds the store, so that none of its mounts can be alive.
void RemoveDeadMountsOf(const std::string& store_path);

}  // namespace varve
