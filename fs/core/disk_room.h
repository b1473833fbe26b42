// Room on the disk: what hot copies may take, the ballast and the packs' reserve for when it
// is full, and what is to stay free.
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
  struct Dependencies {
    Disk& disk;
    Tree& tree;
    LiveFiles& files;
    PackStore& packs;
    HotCache& hot;
  };
  static Result<std::unique_ptr<DiskRoom>> Open(const Dependencies& dependencies,
                                                const Options& options);

  // Once a second: hot copies take at most half of what would be free without them.
  // Returns whether the disk is nearly full: less than a twentieth of it is free.
  bool Housekeep();
  // What is missing up to that watermark, as far as history is to make room for it.
  uint64_t MissingBytes();
  // What is free, or taken by hot copies.
  uint64_t RoomBytes();
  // What can be written before anything is freed: that, and the packs' reserve.
  uint64_t RoomBytesFor(RoomFor room) { return RoomBytes() + d_.packs.reserve_bytes(room); }
  // The store's own work found the disk full: drops hot copies and the ballast. A
  // commit has to follow, with which the staging files go.
  void MakeRoom();

  uint64_t ballast_bytes() { return ballast_->held_bytes(); }

 private:
  DiskRoom(const Dependencies& dependencies, const Options& options)
      : d_(dependencies), options_(options) {}
  // What a collection of a full disk takes at first: a base journal, which has most of the
  // index's rows.
  uint64_t ReserveBytes(const struct statvfs& space);

  Dependencies d_;
  const Options options_;
  std::unique_ptr<Ballast> ballast_;
};

}  // namespace varve
