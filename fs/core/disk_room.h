// Room on the disk: what hot copies may take, the ballast for when it is full, and what is
// to stay free.
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
  struct Options {
    uint64_t hot_bytes_max = 0;  // the user's limit for hot copies
    bool history_yields = true;  // to what is written now, below the watermark
  };
  static Result<std::unique_ptr<DiskRoom>> Open(Disk& disk, Tree& tree, LiveFiles& files,
                                                HotCache& hot, const Options& options);

  // Once a second: hot copies take at most half of what would be free without them.
  // Returns whether the disk is nearly full: less than a twentieth of it is free.
  bool Housekeep();
  // What is missing up to that watermark, as far as history is to make room for it.
  uint64_t MissingBytes();
  // What is free, or taken by hot copies.
  uint64_t RoomBytes();
  // The store's own work found the disk full: drops hot copies and the ballast. A
  // commit has to follow, with which the staging files go.
  void MakeRoom();

  uint64_t ballast_bytes() { return ballast_->held_bytes(); }

 private:
  DiskRoom(Disk& disk, Tree& tree, LiveFiles& files, HotCache& hot, const Options& options)
      : disk_(disk), tree_(tree), files_(files), hot_(hot), options_(options) {}

  Disk& disk_;
  Tree& tree_;
  LiveFiles& files_;
  HotCache& hot_;
  const Options options_;
  std::unique_ptr<Ballast> ballast_;
};

}  // namespace varve
