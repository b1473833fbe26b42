#include "fs/core/access.h"

#include <unistd.h>

#include <algorithm>

namespace varve {
namespace {

bool InGroup(const Caller& caller, gid_t gid) {
  if (caller.gid == gid) return true;
  if (!caller.groups) return false;
  const std::vector<gid_t> groups = caller.groups();
  return std::find(groups.begin(), groups.end(), gid) != groups.end();
}

}  // namespace

bool Allows(const Guard& guard, const Caller& caller, int wanted) {
  const auto bits = static_cast<mode_t>(wanted);
  if (caller.uid == 0) {
    // Root executes a file only if somebody may.
    return (bits & X_OK) == 0 || S_ISDIR(guard.mode) || (guard.mode & 0111) != 0;
  }
  if (caller.uid == guard.uid) return (guard.mode >> 6 & bits) == bits;
  const mode_t group_bits = guard.mode >> 3 & 7;
  const mode_t other_bits = guard.mode & 7;
  // The groups cost a system call: ask only if they make a difference.
  const bool differs = (group_bits & bits) != (other_bits & bits);
  const mode_t granted = differs && InGroup(caller, guard.gid) ? group_bits : other_bits;
  return (granted & bits) == bits;
}

Status RequireAccess(const Guard& guard, const Caller& caller, int wanted) {
  return Allows(guard, caller, wanted) ? Status() : Status::Errno(EACCES);
}

}  // namespace varve
