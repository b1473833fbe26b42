// Performs writes to pack files: in the background through io_uring where there
// is one, else at once.
//
// It knows no format and no order; whoever starts two writes of one range waits
// for the first before starting the second.
//
// Threads: Start() may be called concurrently, and while another thread is in
//          Await(); Await() by one thread at a time.
// Errors:  a write's own, in its Finished.
// Units:   bytes.
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <span>

#include "store/base/disk.h"
#include "store/base/mutex.h"
#include "store/uring/ring.h"

namespace varve {

class WriteQueue {
 public:
  struct Write {
    uint64_t tag = 0;
    std::shared_ptr<File> file;
    uint64_t offset = 0;
    ByteView bytes;   // stays valid until the write has finished
    int buffer = -1;  // the ring's registered buffer that holds `bytes`, or -1
  };
  struct Finished {
    uint64_t tag = 0;
    Status status;
  };

  // `ring` may be null.
  explicit WriteQueue(std::unique_ptr<Ring> ring) : ring_(std::move(ring)) {}
  // REQUIRES: every write that was started has been returned as finished.
  ~WriteQueue() = default;

  // Memory that writes will come from; see Ring::RegisterBuffers.
  void RegisterBuffers(std::span<const MutableBytes> buffers) {
    if (ring_ != nullptr) ring_->RegisterBuffers(buffers);
  }

  // Returns the write as finished if it was performed at once or failed to start;
  // else Await() will.
  std::optional<Finished> Start(Write write) EXCLUDES(mutex_);
  // REQUIRES: a write was started and not returned as finished.
  Finished Await() EXCLUDES(mutex_);

 private:
  bool Submit(const Write& write) REQUIRES(mutex_);

  const std::unique_ptr<Ring> ring_;

  // Guards preparing and submitting, and what is in the kernel's hands.
  Mutex mutex_;
  std::map<uint64_t, Write> started_ GUARDED_BY(mutex_);
  bool broken_ GUARDED_BY(mutex_) = false;
};

}  // namespace varve
