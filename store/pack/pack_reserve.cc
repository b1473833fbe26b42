#include "store/pack/pack_reserve.h"

#include <fcntl.h>

#include <algorithm>
#include <utility>

#include "store/pack/pack_format.h"

namespace varve {

namespace {

// Of what is free, so much of the reserve is left to the log and the index.
constexpr uint64_t kSparedShare = 4;

}  // namespace

bool PackReserve::Fill(uint64_t bytes) {
  if (bytes_ < bytes) Grow(bytes);
  return bytes_ >= bytes && bytes_ > 0;
}

void PackReserve::Grow(uint64_t bytes) {
  Result<std::unique_ptr<File>> file = disk_.Open(path_, OpenMode::kCreate);
  if (!file.ok()) return;
  const Result<struct stat> stat = (*file)->Stat();
  if (!stat.ok()) return;
  // A power cut took back its new name, but not what was written: that is no empty pack.
  const bool used = stat->st_size > 0;
  if (used && !(*file)->Truncate(0).ok()) return;
  constexpr uint64_t kSectorBytes = 512;
  const uint64_t there = used ? 0 : static_cast<uint64_t>(stat->st_blocks) * kSectorBytes;
  // Asked before, because an allocation that fails takes everything for a moment.
  const Result<struct statvfs> space = disk_.Space();
  if (!space.ok()) return;
  const uint64_t free_bytes = static_cast<uint64_t>(space->f_bavail) * space->f_frsize;
  const uint64_t spared = bytes / kSparedShare;
  const uint64_t most = there + free_bytes - std::min(free_bytes, spared);
  const uint64_t wanted = std::min(bytes, AlignDown(most, kBlockBytes));
  if (wanted > there) {
    if (!(*file)->Allocate(FALLOC_FL_KEEP_SIZE, 0, wanted).ok()) return;
    // Or a power cut takes the room back.
    if (wanted == bytes && (!(*file)->SyncData().ok() || !disk_.SyncDirectory(directory_).ok()))
      return;
  }
  bytes_ = std::max(bytes_, std::min(bytes, std::max(wanted, there)));
}

bool PackReserve::Drop() {
  bytes_ = 0;
  return disk_.Remove(path_).ok();
}

Result<std::unique_ptr<File>> PackReserve::BecomeFile(const std::string& path,
                                                      OpenOptions options) {
  // In this order a failure changes nothing.
  ASSIGN_OR_RETURN(std::unique_ptr<File> file, disk_.Open(path_, OpenMode::kReadWrite, options));
  RETURN_IF_ERROR(disk_.Rename(path_, path));
  bytes_ = 0;
  return file;
}

}  // namespace varve
