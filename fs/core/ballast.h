// STORE/ballast: room that only the store's own work may use.
//
// A disk that users have filled must still take the packs, the index and the log
// of what was acknowledged, and of every removal. So some room is allocated from
// the beginning. When that work runs out of space the ballast goes, and it comes
// back once there is plenty again.
//
// Threads: all methods may be called concurrently.
// Units:   bytes.
#pragma once

#include <memory>

#include "store/base/disk.h"
#include "store/base/mutex.h"

namespace varve {

class Ballast {
 public:
  // Two packs, or a sixteenth of a small disk.
  static constexpr uint64_t kBytesMax = 128u << 20;
  static constexpr uint64_t kDiskShare = 16;

  // Allocates it if there is room twice. A disk that is too full already is no failure.
  static Result<std::unique_ptr<Ballast>> Open(Disk& disk);
  // Gives back what earlier sessions kept; false if that is nothing. For a store that cannot
  // be opened otherwise.
  static bool Drop(Disk& disk);

  // Gives its room back; false when it was gone already.
  bool Release();
  // Takes it again once four times its size is free.
  void Refill();
  uint64_t held_bytes();

 private:
  Ballast(Disk& disk, std::unique_ptr<File> file, uint64_t bytes)
      : disk_(disk), bytes_(bytes), file_(std::move(file)) {}
  void RefillLocked(uint64_t free_wanted) REQUIRES(mutex_);

  Disk& disk_;
  const uint64_t bytes_;
  Mutex mutex_;
  const std::unique_ptr<File> file_;
  bool held_ GUARDED_BY(mutex_) = false;
};

}  // namespace varve
