// Says when the next bytes may be read, so that no second sees more than so many.
//
// What was not used is not saved up: after a pause there is no burst.
//
// Threads: belongs to one thread, or to who holds its mutex.
// Units:   bytes, nanoseconds.
#pragma once

#include <algorithm>
#include <cstdint>

#include "store/base/clock.h"

namespace varve {

class RateLimit {
 public:
  explicit RateLimit(Clock& clock) : clock_(clock) {}

  // 0: no limit. What was taken before counts no more.
  void Set(uint64_t bytes_per_second) {
    bytes_per_second_ = bytes_per_second;
    next_ns_ = 0;
  }
  uint64_t bytes_per_second() const { return bytes_per_second_; }

  // How long to wait before `bytes` may be read, which counts as done then.
  int64_t Take(uint64_t bytes) {
    if (bytes_per_second_ == 0) return 0;
    const int64_t now_ns = clock_.MonotonicNs();
    const int64_t start_ns = std::max(now_ns, next_ns_);
    const double seconds = static_cast<double>(bytes) / static_cast<double>(bytes_per_second_);
    next_ns_ = start_ns + static_cast<int64_t>(std::min(seconds, kSecondsMax) * 1e9);
    return start_ns - now_ns;
  }

 private:
  static constexpr double kSecondsMax = 86'400;  // far from an overflow

  Clock& clock_;
  uint64_t bytes_per_second_ = 0;
  int64_t next_ns_ = 0;
};

}  // namespace varve
