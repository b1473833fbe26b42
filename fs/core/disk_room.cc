#include "fs/core/disk_room.h"

#include <algorithm>

namespace varve {
namespace {

constexpr uint64_t kHotFreeShare = 2;
constexpr uint64_t kNearlyFullShare = 20;

// Up to the watermark; 0 above it.
uint64_t MissingOf(const struct statvfs& space) {
  const uint64_t wanted = space.f_blocks / kNearlyFullShare;
  return wanted > space.f_bavail ? (wanted - space.f_bavail) * space.f_frsize : 0;
}

}  // namespace

Result<std::unique_ptr<DiskRoom>> DiskRoom::Open(Disk& disk, Tree& tree, LiveFiles& files,
                                                 HotCache& hot, const Options& options) {
  auto room = std::unique_ptr<DiskRoom>(new DiskRoom(disk, tree, files, hot, options));
  ASSIGN_OR_RETURN(room->ballast_, Ballast::Open(disk));
  return room;
}

bool DiskRoom::Housekeep() {
  bool nearly_full = false;
  const Result<struct statvfs> space = disk_.Space();
  if (space.ok()) {
    const uint64_t free_bytes = static_cast<uint64_t>(space->f_bavail) * space->f_frsize;
    nearly_full = MissingOf(*space) > 0;
    MutexLock lock(tree_.mutex());
    hot_.SetMax(std::min(options_.hot_bytes_max, (free_bytes + hot_.bytes()) / kHotFreeShare));
    files_.TrimHotLocked(&hot_);
  }
  ballast_->Refill();
  return nearly_full;
}

uint64_t DiskRoom::MissingBytes() {
  if (!options_.history_yields) return 0;
  const Result<struct statvfs> space = disk_.Space();
  return space.ok() ? MissingOf(*space) : 0;
}

uint64_t DiskRoom::RoomBytes() {
  const Result<struct statvfs> space = disk_.Space();
  if (!space.ok()) return 0;
  MutexLock lock(tree_.mutex());
  return static_cast<uint64_t>(space->f_bavail) * space->f_frsize + hot_.bytes();
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
