// A disk image in a plain file, behind a volatile cache that a power cut empties.
//
// The file always has the newest bytes; what it had before is remembered for
// every write since the last Flush(). Cut() takes some of those writes back, and
// then the file is what a real disk would have kept.
//
// The fault model of the disk: a flush makes all earlier writes durable; of the
// writes since then any may be lost, in any order; a sector of kSectorBytes is
// never torn. The cache is limited, and what does not fit becomes durable, the
// oldest first. A disk that lies about a flush is not simulated.
//
// Threads: belongs to one thread.
// Errors:  kInvalid for what is not a multiple of a sector or beyond the end;
//          kIo for everything after Cut().
// Units:   bytes.
#pragma once

#include <cstdint>
#include <deque>
#include <map>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "store/base/disk.h"
#include "store/base/posix_disk.h"

namespace varve::testing {

class PowerCutImage {
 public:
  static constexpr uint64_t kSectorBytes = 512;
  static constexpr uint64_t kCacheBytesDefault = uint64_t{256} << 20;

  enum class Loss {
    kAll,     // everything that was not flushed
    kTail,    // all writes behind one of them, which is torn
    kRandom,  // each sector for itself keeps its newest bytes, or some older ones
  };
  // "all", "tail", "random".
  static Result<Loss> LossFromName(std::string_view name);

  struct Counts {
    uint64_t writes = 0;
    uint64_t flushes = 0;
    // Since the last flush.
    uint64_t unflushed_writes = 0;
    uint64_t unflushed_bytes = 0;
    // Sectors whose newest bytes Cut() took away.
    uint64_t lost_sectors = 0;
  };

  // `path` is an existing file whose size is a multiple of a sector.
  static Result<std::unique_ptr<PowerCutImage>> Open(const std::string& path,
                                                     uint64_t cache_bytes = kCacheBytesDefault);

  Status Read(uint64_t offset, MutableBytes out);
  Status Write(uint64_t offset, ByteView bytes);
  Status Flush();
  // The same seed gives the same loss after the same writes.
  Status Cut(Loss loss, uint64_t seed);

  uint64_t size() const { return size_; }
  bool cut() const { return cut_; }
  const Counts& counts() const { return counts_; }

 private:
  struct Unflushed {
    uint64_t offset;
    std::vector<uint8_t> before;
  };

  PowerCutImage(std::unique_ptr<PosixDisk> directory, std::unique_ptr<File> file, uint64_t size,
                uint64_t cache_bytes);

  Status Check(uint64_t offset, uint64_t size) const;
  Status LoseTail(uint64_t kept);
  Status LoseRandom(uint64_t seed);

  const std::unique_ptr<PosixDisk> directory_;
  const std::unique_ptr<File> file_;
  const uint64_t size_;
  const uint64_t cache_bytes_;
  std::deque<Unflushed> unflushed_;
  bool cut_ = false;
  Counts counts_;
};

}  // namespace varve::testing
