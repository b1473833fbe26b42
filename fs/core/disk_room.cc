#include "fs/core/disk_room.h"

#include <algorithm>

namespace varve {
namespace {

constexpr uint64_t kHotFreeShare = 2;
constexpr uint64_t kNearlyFullShare = 20;

}  // namespace

Result<std::unique_ptr<DiskRoom>> DiskRoom::Open(Disk& disk, Tree& tree, LiveFiles& files,
                                                 HotCache& hot, uint64_t hot_bytes_max) {
  auto room = std::unique_ptr<DiskRoom>(new DiskRoom(disk, tree, files, hot, hot_bytes_max));
  ASSIGN_OR_RETURN(room->ballast_, Ballast::Open(disk));
  return room;
}

bool DiskRoom::Housekeep() {
  bool nearly_full = false;
  const Result<struct statvfs> space = disk_.Space();
  if (space.ok()) {
    const uint64_t free_bytes = static_cast<uint64_t>(space->f_bavail) * space->f_frsize;
    nearly_full = space->f_bavail < space->f_blocks / kNearlyFullShare;
    MutexLock lock(tree_.mutex());
    hot_.SetMax(std::min(hot_bytes_max_, (free_bytes + hot_.bytes()) / kHotFreeShare));
    files_.TrimHotLocked(&hot_);
  }
  ballast_->Refill();
  return nearly_full;
}

void DiskRoom::MakeRoom() {
  {
    MutexLock lock(tree_.mutex());
    hot_.SetMax(0);
    files_.TrimHotLocked(&hot_);
  }
  ballast_->Release();
}

}  // namespace varve
