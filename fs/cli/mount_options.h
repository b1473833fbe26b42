// What `varve mount` and mount(8) ask for: the command line, decoded.
//
// Threads: free functions and values.
// Errors:  kInvalid with a sentence that names the option.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "store/base/result.h"

namespace varve {

struct MountRequest {
  std::string store_path;   // absolute, once checked
  std::string mount_point;  // absolute, once checked

  bool foreground = false;
  bool supervise = false;  // a parent process replaces a daemon that died
  bool remount = false;    // only change the flags of what is mounted
  // Takes a dead daemon's mount away first, and does not mount if there is none: then
  // somebody has unmounted it meanwhile. Set by the supervisor only.
  bool replaces_dead_mount = false;
  bool passthrough = true;
  bool store_io_uring = true;  // -o no_io_uring switches both off
  bool fuse_io_uring = false;  // -o io_uring
  bool allow_other = false;
  unsigned threads = 0;        // 0: from the cores
  uint64_t hot_bytes_max = 0;  // 0: from the disk
  bool history_yields = true;  // -o on_full=history
  unsigned quiet_seconds = 2;
  std::string log_path;  // "": STORE/varve.log
  // For storing what is pending after a signal; < 0: no limit.
  double stop_timeout_seconds = -1;

  // What the kernel is told: ro, noexec, noatime, … Later ones win.
  std::vector<std::string> mount_flags;
};

// Adds one list of options, "ro,threads=4,log=/a\,b", to the request. `sloppy`:
// what nobody knows is ignored, as mount(8) asks with -s.
Status AddMountOptions(std::string_view list, bool sloppy, MountRequest* request);

// All that AddMountOptions() knows, for --help.
std::string MountOptionsHelp();

}  // namespace varve
