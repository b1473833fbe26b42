// Time, as a seam: the simulator has its own.
#pragma once

#include <cstdint>
#include <ctime>

namespace varve {

class Clock {
 public:
  virtual ~Clock() = default;
  // Wall clock, for timestamps that users see. Never for safety.
  virtual struct timespec Now() = 0;
  // Monotonic, for waiting and measuring.
  virtual int64_t MonotonicNs() = 0;
};

class SystemClock final : public Clock {
 public:
  struct timespec Now() override;
  int64_t MonotonicNs() override;
};

}  // namespace varve
