#include "fs/core/disk_room.h"

#include <algorithm>

namespace varve {
namespace {

constexpr uint64_t kHotFreeShare = 2;
constexpr uint64_t kNearlyFullShare = 20;
constexpr uint64_t kReserveBytesMin = 16u << 20;
constexpr uint64_t kReserveBytesMax = 1u << 30;
constexpr uint64_t kReserveDiskShare = 32;

// Up to the watermark; 0 above it.
uint64_t MissingOf(const struct statvfs& space) {
  const uint64_t wanted = space.f_blocks / kNearlyFullShare;
  return wanted > space.f_bavail ? (wanted - space.f_bavail) * space.f_frsize : 0;
}

}  // namespace

Result<std::unique_ptr<DiskRoom>> DiskRoom::Open(const Dependencies& dependencies,
                                                 const Options& options) {
  auto room = std::unique_ptr<DiskRoom>(new DiskRoom(dependencies, options));
  ASSIGN_OR_RETURN(const struct statvfs space, dependencies.disk.Space());
  dependencies.packs.KeepReserve(room->ReserveBytes(space));
  ASSIGN_OR_RETURN(room->ballast_, Ballast::Open(dependencies.disk));
  return room;
}

uint64_t DiskRoom::ReserveBytes(const struct statvfs& space) {
  const uint64_t disk_bytes = static_cast<uint64_t>(space.f_blocks) * space.f_frsize;
  const uint64_t rows_bytes = d_.tree.catalog().Stats().index_bytes / 2;
  return std::min(std::clamp(rows_bytes, kReserveBytesMin, kReserveBytesMax),
                  disk_bytes / kReserveDiskShare);
}

bool DiskRoom::Housekeep() {
  bool nearly_full = false;
  const Result<struct statvfs> space = d_.disk.Space();
  if (space.ok()) {
    const uint64_t free_bytes = static_cast<uint64_t>(space->f_bavail) * space->f_frsize;
    nearly_full = MissingOf(*space) > 0;
    MutexLock lock(d_.tree.mutex());
    d_.hot.SetMax(std::min(options_.hot_bytes_max, (free_bytes + d_.hot.bytes()) / kHotFreeShare));
    d_.files.TrimHotLocked(&d_.hot);
  }
  if (space.ok()) d_.packs.KeepReserve(ReserveBytes(*space));
  ballast_->Refill();
  return nearly_full;
}

uint64_t DiskRoom::MissingBytes() {
  if (!options_.history_yields) return 0;
  const Result<struct statvfs> space = d_.disk.Space();
  return space.ok() ? MissingOf(*space) : 0;
}

uint64_t DiskRoom::RoomBytes() {
  const Result<struct statvfs> space = d_.disk.Space();
  if (!space.ok()) return 0;
  MutexLock lock(d_.tree.mutex());
  return static_cast<uint64_t>(space->f_bavail) * space->f_frsize + d_.hot.bytes();
}

void DiskRoom::MakeRoom() {
  {
    MutexLock lock(d_.tree.mutex());
    d_.hot.SetMax(0);
    d_.files.TrimHotLocked(&d_.hot);
  }
  ballast_->Release();
}

}  // namespace varve
