// An io_uring: reads and writes that the kernel performs while we go on.
//
// The only user of liburing. Many environments forbid io_uring (the sysctl
// kernel.io_uring_disabled, a seccomp filter, an old kernel); Open() then says
// why in one sentence, and callers use File::ReadAt and WriteAt instead.
//
// Threads: one thread at a time prepares and submits, one at a time waits; the
//          two may be different threads.
// Errors:  Open() fails with kUnsupported, its context being the reason. A failed
//          operation is a Completion with a negative result, not an error.
// Units:   bytes.
#pragma once

#include <cstdint>
#include <memory>
#include <span>

#include "store/base/bytes.h"
#include "store/base/result.h"

namespace varve {

class Ring {
 public:
  struct Operation {
    int descriptor = -1;
    uint64_t offset = 0;
    int buffer = -1;   // index of the registered buffer that holds the bytes, or -1
    uint64_t tag = 0;  // comes back in the Completion
  };
  struct Completion {
    uint64_t tag = 0;
    int result = 0;  // bytes moved, perhaps fewer than asked for, or -errno
  };

  static Result<std::unique_ptr<Ring>> Open(unsigned operations_max);
  // REQUIRES: in_flight() == 0, or the kernel would write into memory that is gone.
  ~Ring();
  Ring(const Ring&) = delete;
  Ring& operator=(const Ring&) = delete;

  // Pins `buffers` so that operations skip mapping them. Where the limit on locked
  // memory forbids that, nothing is registered and operations work all the same.
  void RegisterBuffers(std::span<const MutableBytes> buffers);

  // Queue one operation until Submit(). REQUIRES: fewer than operations_max are
  // queued or in flight.
  void PrepareRead(const Operation& operation, MutableBytes out);
  void PrepareWrite(const Operation& operation, ByteView bytes);
  // Hands all that is queued to the kernel. After a failure the ring is only good
  // for waiting until nothing is in flight.
  Status Submit();
  // The next completion. REQUIRES: in_flight() > 0.
  Result<Completion> Wait();

  // Operations that the kernel has and Wait() has not returned.
  unsigned in_flight() const;

 private:
  struct State;
  explicit Ring(std::unique_ptr<State> state);

  std::unique_ptr<State> state_;
};

}  // namespace varve
