// Room on the disk: what hot copies may take, and the ballast for when it is full.
//
// Threads: all methods may be called concurrently; they take Tree::mutex().
// Units:   bytes.
#pragma once

#include <memory>

#include "fs/core/ballast.h"
#include "fs/core/live_files.h"

namespace varve {

class DiskRoom {
 public:
  // `hot_bytes_max` is the user's limit for hot copies.
  static Result<std::unique_ptr<DiskRoom>> Open(Disk& disk, Tree& tree, LiveFiles& files,
                                                HotCache& hot, uint64_t hot_bytes_max);

  // Once a second: hot copies take at most half of what would be free without them.
  // Returns whether the disk is nearly full.
  bool Housekeep();
  // The store's own work found the disk full: drops hot copies and the ballast. A
  // commit has to follow, with which the staging files go.
  void MakeRoom();

  uint64_t ballast_bytes() { return ballast_->held_bytes(); }

 private:
  DiskRoom(Disk& disk, Tree& tree, LiveFiles& files, HotCache& hot, uint64_t hot_bytes_max)
      : disk_(disk), tree_(tree), files_(files), hot_(hot), hot_bytes_max_(hot_bytes_max) {}

  Disk& disk_;
  Tree& tree_;
  LiveFiles& files_;
  HotCache& hot_;
  const uint64_t hot_bytes_max_;
  std::unique_ptr<Ballast> ballast_;
};

}  // namespace varve
