// The File of a PosixDisk: one open descriptor.
//
// Threads: as File.
// Errors:  as File.
#pragma once

#include <string>

#include "store/base/disk.h"
#include "store/base/unique_fd.h"

namespace varve {

class PosixFile final : public File {
 public:
  // `path` is for messages only. `direct`: the descriptor has O_DIRECT.
  PosixFile(UniqueFd descriptor, std::string path, bool direct)
      : descriptor_(std::move(descriptor)), path_(std::move(path)), direct_(direct) {}

  Result<size_t> ReadAt(uint64_t offset, MutableBytes out) override;
  Status WriteAt(uint64_t offset, ByteView bytes) override;
  Status Truncate(uint64_t size) override;
  Status Allocate(int mode, uint64_t offset, uint64_t size) override;
  Result<uint64_t> Seek(uint64_t offset, int whence) override;
  // Holes stay holes. `source` is a PosixFile.
  Result<uint64_t> CopyFrom(File& source, uint64_t source_offset, uint64_t offset,
                            uint64_t size) override;
  Status SyncData() override;
  Result<struct stat> Stat() override;
  Status SetTimes(const struct timespec times[2]) override;
  Status AcquireLease() override;
  bool LeaseHolds() override;
  void DropLease() override;
  bool IsUsedAlone() override;
  int descriptor() const override { return descriptor_.get(); }

 private:
  // The current errno, as "VERB PATH".
  Status Failure(const char* verb) const;
  // Copies bytes, or makes [offset, offset + size) read as zeros.
  Status CopyData(File& source, uint64_t source_offset, uint64_t offset, uint64_t size);
  Status CopyThroughMemory(File& source, uint64_t source_offset, uint64_t offset, uint64_t size);
  Status CopyHole(uint64_t offset, uint64_t size);

  const UniqueFd descriptor_;
  const std::string path_;
  const bool direct_;
};

}  // namespace varve
