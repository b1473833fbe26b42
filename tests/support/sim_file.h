// The File of a SimDisk.
//
// Threads: as File; takes SimDisk's mutex.
// Errors:  as File.
#pragma once

#include <string>

#include "store/base/disk.h"
#include "tests/support/sim_disk.h"

namespace varve::testing {

class SimFile final : public File {
 public:
  // The caller holds the disk's mutex and has counted the opener.
  SimFile(SimDisk& disk, SimInodePointer inode, std::string path, bool writable, bool direct,
          uint64_t process)
      : disk_(disk),
        inode_(std::move(inode)),
        path_(std::move(path)),
        writable_(writable),
        direct_(direct),
        process_(process) {}
  ~SimFile() override;

  Result<size_t> ReadAt(uint64_t offset, MutableBytes out) override;
  Status WriteAt(uint64_t offset, ByteView bytes) override;
  Status Truncate(uint64_t size) override;
  Status Allocate(int mode, uint64_t offset, uint64_t size) override;
  Result<uint64_t> Seek(uint64_t offset, int whence) override;
  Result<uint64_t> CopyFrom(File& source, uint64_t source_offset, uint64_t offset,
                            uint64_t size) override;
  Status SyncData() override;
  Result<struct stat> Stat() override;
  Status SetTimes(const struct timespec times[2]) override;
  Status AcquireLease() override;
  bool LeaseHolds() override;
  void DropLease() override;
  bool IsUsedAlone() override;

 private:
  SimDisk::Verdict Admit(SimDisk::Kind kind, const char* verb) REQUIRES(disk_.mutex_);
  Status Failure(int os_errno, const char* verb) const;
  bool Aligned(uint64_t offset, const uint8_t* bytes, size_t size) const;
  // Runs `change` and keeps the count of used pages and the time of change.
  template <typename Function>
  void Change(Function change) REQUIRES(disk_.mutex_);
  Status AllocateLocked(int mode, uint64_t offset, uint64_t size) REQUIRES(disk_.mutex_);

  SimDisk& disk_;
  const SimInodePointer inode_;
  const std::string path_;
  const bool writable_;
  const bool direct_;
  const uint64_t process_;
  bool leased_ GUARDED_BY(disk_.mutex_) = false;
};

}  // namespace varve::testing
