// A store that is open: what `varve mount` builds, and what the kernel talks to.
//
// It takes the store's lock, recovers what the last mount left, and runs the
// background work: digesting, committing, dropping hot copies. Everything else
// is in the parts it is made of.
//
// Threads: all methods may be called concurrently.
#pragma once

#include <memory>
#include <string>

#include "fs/core/kernel_channel.h"
#include "fs/core/node_ops.h"
#include "store/base/result.h"

namespace varve {

struct VolumeOptions {
  bool passthrough = true;     // -o no_passthrough
  bool io_uring = true;        // -o no_io_uring, for the store's own I/O
  unsigned threads = 0;        // -o threads=N of digesting and decoding; 0: from the cores
  uint64_t hot_bytes_max = 0;  // -o hot=SIZE of staging files kept for fast reads; 0: a
                               // tenth of the disk
  bool history_yields = true;  // -o on_full=history; fail: what the rules keep stays
  int64_t quiet_ns = int64_t{2} * 1'000'000'000;  // -o quiet=SECONDS: a directory that was not
                                                  // changed for so long is captured
  std::string mount_point;                        // for status and messages
};

// What fs/fuse knows about the mount, for `status`.
struct MountFacts {
  bool passthrough = false;
  bool direct_writes = false;      // the kernel drops cached pages that a direct write changes
  std::string passthrough_reason;  // why not, "" when on
  bool io_uring = false;
  std::string io_uring_reason;
  std::string version;
};

class Volume {
 public:
  virtual ~Volume() = default;  // stops the background work without draining it

  // The kind's operations, chosen by the node's id.
  virtual NodeOps& Nodes(NodeId node) = 0;

  // After the kernel's INIT, before the first request.
  virtual void SetMountFacts(const MountFacts& facts) = 0;

  // The kernel has taken the mount away, and may not have said of every file that it
  // was closed. REQUIRES: no operation follows.
  virtual void Disconnect() = 0;

  // Captures and stores everything that is pending, and commits. What is still open for
  // writing cannot be stored; the next mount does it. Returns kBusy
  // after `timeout_ns` (< 0: never) with what is left in the context.
  virtual Status Drain(int64_t timeout_ns) = 0;

  // The JSON of `.varve/status`, docs/SEMANTICS.md "Status".
  virtual std::string StatusJson() = 0;
};

// `store_path` is created (mode 0700) if it does not exist, and initialised if it
// is empty. Fails with kBusy if it is mounted already, kInvalid if it is something
// else or of a format from the future; the context is a sentence for the user.
Result<std::unique_ptr<Volume>> OpenVolume(const std::string& store_path,
                                           const VolumeOptions& options, KernelChannel& kernel);

}  // namespace varve
