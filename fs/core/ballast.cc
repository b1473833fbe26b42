#include "fs/core/ballast.h"

#include <algorithm>

#include "store/base/log.h"

namespace varve {
namespace {

constexpr char kPath[] = "ballast";
constexpr uint64_t kPlenty = 4;
constexpr uint64_t kTwice = 2;  // opening takes room, too

}  // namespace

Result<std::unique_ptr<Ballast>> Ballast::Open(Disk& disk) {
  ASSIGN_OR_RETURN(const struct statvfs space, disk.Space());
  const uint64_t disk_bytes = static_cast<uint64_t>(space.f_blocks) * space.f_frsize;
  const uint64_t bytes = std::min(kBytesMax, disk_bytes / kDiskShare);
  ASSIGN_OR_RETURN(std::unique_ptr<File> file, disk.Open(kPath, OpenMode::kCreate));
  auto ballast = std::unique_ptr<Ballast>(new Ballast(disk, std::move(file), bytes));
  MutexLock lock(ballast->mutex_);
  ballast->RefillLocked(kTwice * bytes);
  return ballast;
}

bool Ballast::Drop(Disk& disk) {
  const Result<struct stat> stat = disk.Stat(kPath);
  return stat.ok() && stat->st_blocks > 0 && disk.Remove(kPath).ok();
}

void Ballast::RefillLocked(uint64_t free_wanted) {
  const Result<struct stat> stat = file_->Stat();
  if (stat.ok() && static_cast<uint64_t>(stat->st_size) == bytes_ &&
      static_cast<uint64_t>(stat->st_blocks) * 512 >= bytes_) {
    held_ = true;
    return;
  }
  const Result<struct statvfs> space = disk_.Space();
  if (!space.ok() || static_cast<uint64_t>(space->f_bavail) * space->f_frsize < free_wanted) return;
  const Status allocated = file_->Allocate(0, 0, bytes_);
  held_ = allocated.ok();
  if (held_) return;
  const Status none = file_->Truncate(0);
  LogWarning("there is no room for the ballast: {}", none.ok() ? allocated : none);
}

bool Ballast::Release() {
  MutexLock lock(mutex_);
  if (!held_) return false;
  const Status released = file_->Truncate(0);
  held_ = !released.ok();
  LogWarning("the disk is full: the ballast of {} bytes is given to the store's own work", bytes_);
  return !held_;
}

void Ballast::Refill() {
  MutexLock lock(mutex_);
  if (!held_) RefillLocked(kPlenty * bytes_);
}

uint64_t Ballast::held_bytes() {
  MutexLock lock(mutex_);
  return held_ ? bytes_ : 0;
}

}  // namespace varve
