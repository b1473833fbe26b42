// Which processes keep a mount from being unmounted.
//
// Threads: a free function.
#pragma once

#include <string>

namespace varve {

// "is in use by bash (process 12), python3 (process 34)", as far as this user may
// see them; "is in use" if none is visible. Asks /proc, never the mount.
std::string DescribeUsers(const std::string& mount_point);

}  // namespace varve
