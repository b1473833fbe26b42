#include "tests/support/sim_file.h"

#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <limits>
#include <vector>

namespace varve::testing {
namespace {

constexpr auto kOffsetMax = static_cast<uint64_t>(std::numeric_limits<off_t>::max());

bool FitsOffset(uint64_t offset, uint64_t size) {
  return offset <= kOffsetMax && size <= kOffsetMax - offset;
}

}  // namespace

SimFile::~SimFile() {
  MutexLock lock(disk_.mutex_);
  if (process_ != disk_.process_) return;
  if (leased_) --inode_->leases;
  if (writable_) --inode_->writers;
  if (--inode_->openers == 0) disk_.tree_.Closed(*inode_);
}

SimDisk::Verdict SimFile::Admit(SimDisk::Kind kind, const char* verb) {
  if (process_ != disk_.process_) return {false, 0, Failure(EIO, verb)};
  SimDisk::Verdict verdict = disk_.Admit(kind, std::string(verb) + " " + path_);
  if (kind != SimDisk::Kind::kQuery && verdict.happens && !writable_) {
    return {false, 0, Failure(EBADF, verb)};
  }
  return verdict;
}

Status SimFile::Failure(int os_errno, const char* verb) const {
  return Status::Errno(os_errno, std::string(verb) + " " + path_);
}

// As strict as the strictest disks are.
bool SimFile::Aligned(uint64_t offset, const uint8_t* bytes, size_t size) const {
  constexpr uint64_t kMask = SimContent::kSectorBytes - 1;
  return !direct_ || ((offset | size | reinterpret_cast<uintptr_t>(bytes)) & kMask) == 0;
}

template <typename Function>
void SimFile::Change(Function change) {
  const uint64_t before = inode_->content.page_count();
  change(inode_->content);
  disk_.tree_.AddPages(static_cast<int64_t>(inode_->content.page_count() - before));
  inode_->modified = inode_->changed = disk_.tree_.Now();
}

Result<size_t> SimFile::ReadAt(uint64_t offset, MutableBytes out) {
  MutexLock lock(disk_.mutex_);
  const SimDisk::Verdict verdict = Admit(SimDisk::Kind::kQuery, "read");
  if (!verdict.happens) return verdict.told;
  if (!FitsOffset(offset, out.size()) || !Aligned(offset, out.data(), out.size())) {
    return Failure(EINVAL, "read");
  }
  return inode_->content.Read(offset, out);
}

Status SimFile::WriteAt(uint64_t offset, ByteView bytes) {
  MutexLock lock(disk_.mutex_);
  const SimDisk::Verdict verdict = Admit(SimDisk::Kind::kWrite, "write");
  if (!verdict.happens) return verdict.told;
  if (!FitsOffset(offset, bytes.size())) return Failure(EFBIG, "write");
  if (!Aligned(offset, bytes.data(), bytes.size())) return Failure(EINVAL, "write");
  if (!disk_.HasRoom(inode_->content.PagesMissing(offset, bytes.size()))) {
    return Failure(ENOSPC, "write");
  }
  const size_t part = bytes.size() / 256 * verdict.part + bytes.size() % 256 * verdict.part / 256;
  Change([&](SimContent& content) { content.Write(offset, bytes.first(part)); });
  return verdict.told;
}

Status SimFile::Truncate(uint64_t size) {
  MutexLock lock(disk_.mutex_);
  const SimDisk::Verdict verdict = Admit(SimDisk::Kind::kChange, "truncate");
  if (!verdict.happens) return verdict.told;
  if (!FitsOffset(size, 0)) return Failure(EFBIG, "truncate");
  Change([&](SimContent& content) { content.Truncate(size); });
  return verdict.told;
}

Status SimFile::Allocate(int mode, uint64_t offset, uint64_t size) {
  MutexLock lock(disk_.mutex_);
  const SimDisk::Verdict verdict = Admit(SimDisk::Kind::kChange, "allocate");
  if (!verdict.happens) return verdict.told;
  if (size == 0) return Failure(EINVAL, "allocate");
  if (!FitsOffset(offset, size)) return Failure(EFBIG, "allocate");
  RETURN_IF_ERROR(AllocateLocked(mode, offset, size));
  return verdict.told;
}

Status SimFile::AllocateLocked(int mode, uint64_t offset, uint64_t size) {
  const bool keep_size = (mode & FALLOC_FL_KEEP_SIZE) != 0;
  const int what = mode & ~FALLOC_FL_KEEP_SIZE;
  if (what == FALLOC_FL_PUNCH_HOLE && keep_size) {
    Change([&](SimContent& content) { content.Punch(offset, size); });
    return {};
  }
  if (what != 0 && what != FALLOC_FL_ZERO_RANGE) return Failure(EOPNOTSUPP, "allocate");
  if (!disk_.HasRoom(inode_->content.PagesMissing(offset, size))) {
    return Failure(ENOSPC, "allocate");
  }
  Change([&](SimContent& content) {
    if (what == FALLOC_FL_ZERO_RANGE) content.Punch(offset, size);
    content.Allocate(offset, size);
    if (!keep_size) content.Truncate(std::max(content.size(), offset + size));
  });
  return {};
}

Result<uint64_t> SimFile::Seek(uint64_t offset, int whence) {
  MutexLock lock(disk_.mutex_);
  const SimDisk::Verdict verdict = Admit(SimDisk::Kind::kQuery, "seek");
  if (!verdict.happens) return verdict.told;
  if (whence != SEEK_DATA && whence != SEEK_HOLE) return Failure(EINVAL, "seek");
  const auto found =
      whence == SEEK_DATA ? inode_->content.SeekData(offset) : inode_->content.SeekHole(offset);
  if (!found) return Failure(ENXIO, "seek");
  return *found;
}

Result<uint64_t> SimFile::CopyFrom(File& source, uint64_t source_offset, uint64_t offset,
                                   uint64_t size) {
  MutexLock lock(disk_.mutex_);
  const SimDisk::Verdict verdict = Admit(SimDisk::Kind::kChange, "copy to");
  if (!verdict.happens) return verdict.told;
  const SimContent& from = static_cast<SimFile&>(source).inode_->content;
  if (source_offset >= from.size()) return uint64_t{0};
  size = std::min(size, from.size() - source_offset);
  if (!FitsOffset(offset, size)) return Failure(EFBIG, "copy to");
  uint64_t missing = 0;
  const std::vector<SimContent::Segment> segments = from.Segments(source_offset, size);
  for (const auto& segment : segments) {
    const uint64_t to = segment.offset - source_offset + offset;
    if (!segment.hole) missing += inode_->content.PagesMissing(to, segment.size);
  }
  if (!disk_.HasRoom(missing)) return Failure(ENOSPC, "copy to");
  // All is read before anything is written: the two may be one file.
  std::vector<std::string> data;
  for (const auto& segment : segments) {
    std::string& bytes = data.emplace_back(segment.hole ? 0 : segment.size, '\0');
    from.Read(segment.offset, {reinterpret_cast<uint8_t*>(bytes.data()), bytes.size()});
  }
  Change([&](SimContent& content) {
    for (size_t i = 0; i < segments.size(); ++i) {
      const uint64_t to = segments[i].offset - source_offset + offset;
      if (segments[i].hole) {
        content.Punch(to, segments[i].size);
        content.Truncate(std::max(content.size(), to + segments[i].size));
      } else {
        content.Write(to, AsBytes(data[i]));
      }
    }
  });
  if (!verdict.told.ok()) return verdict.told;
  return size;
}

Status SimFile::SyncData() {
  disk_.RunDuringSync();
  MutexLock lock(disk_.mutex_);
  if (process_ != disk_.process_) return Failure(EIO, "sync");
  const SimDisk::Verdict verdict =
      disk_.Admit(SimDisk::Kind::kChange, "sync " + path_);  // a read-only file may be synced
  if (verdict.happens) {
    inode_->content.Sync();
  } else if (!disk_.crashed_) {
    inode_->content.FailSync();
  }
  return verdict.told;
}

Result<struct stat> SimFile::Stat() {
  MutexLock lock(disk_.mutex_);
  const SimDisk::Verdict verdict = Admit(SimDisk::Kind::kQuery, "stat");
  if (!verdict.happens) return verdict.told;
  return inode_->Stat();
}

Status SimFile::SetTimes(const struct timespec times[2]) {
  MutexLock lock(disk_.mutex_);
  if (process_ != disk_.process_) return Failure(EIO, "set the times of");
  const SimDisk::Verdict verdict = disk_.Admit(SimDisk::Kind::kChange, "set the times of " + path_);
  if (!verdict.happens) return verdict.told;
  struct timespec* const own[2] = {&inode_->accessed, &inode_->modified};
  for (int i = 0; i < 2; ++i) {
    if (times[i].tv_nsec == UTIME_OMIT) continue;
    *own[i] = times[i].tv_nsec == UTIME_NOW ? disk_.tree_.Now() : times[i];
  }
  inode_->changed = disk_.tree_.Now();
  return verdict.told;
}

Status SimFile::AcquireLease() {
  MutexLock lock(disk_.mutex_);
  const SimDisk::Verdict verdict = Admit(SimDisk::Kind::kQuery, "lease");
  if (!verdict.happens) return verdict.told;
  if (inode_->writers > 0) return Status(Code::kBusy);
  if (leased_) return {};
  if (inode_->leases == 0) inode_->lease_broken = false;
  leased_ = true;
  ++inode_->leases;
  return {};
}

bool SimFile::LeaseHolds() {
  MutexLock lock(disk_.mutex_);
  return process_ == disk_.process_ && leased_ && !inode_->lease_broken;
}

void SimFile::DropLease() {
  MutexLock lock(disk_.mutex_);
  if (process_ != disk_.process_ || !leased_) return;
  leased_ = false;
  --inode_->leases;
}

bool SimFile::IsUsedAlone() {
  MutexLock lock(disk_.mutex_);
  const SimDisk::Verdict verdict = Admit(SimDisk::Kind::kQuery, "lease");
  return verdict.happens && inode_->openers == 1;
}

}  // namespace varve::testing
