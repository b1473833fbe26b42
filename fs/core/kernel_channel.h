// What the core asks of the kernel, as a seam: fs/fuse implements it, tests fake it.
//
// Threads: all methods may be called concurrently, and with core's locks held;
//          the Invalidate methods only queue, one thread of the adapter that
//          holds no lock delivers them.
#pragma once

#include <cstdint>
#include <string>

#include "fs/core/node_ops.h"

namespace varve {

class KernelChannel {
 public:
  virtual ~KernelChannel() = default;

  // Registers an open file as a backing file for passthrough. Returns its id > 0,
  // or 0 when passthrough is off or the kernel refused. The descriptor may be
  // closed afterwards.
  virtual int32_t RegisterBacking(int descriptor) = 0;
  virtual void UnregisterBacking(int32_t backing_id) = 0;

  // The kernel drops cached attributes and pages of a node, or one name.
  virtual void InvalidateNode(NodeId node) = 0;
  virtual void InvalidateName(NodeId parent, std::string name) = 0;
};

}  // namespace varve
