// How often each operation was asked for, and how long the answers took.
//
// Recording costs two relaxed additions; reading gives a snapshot that may be a
// few operations out of step with itself.
//
// Threads: all methods may be called concurrently.
// Units:   nanoseconds; bucket b of a histogram holds durations below 2^b µs.
#pragma once

#include <array>
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

namespace varve {

enum class Operation : uint8_t {
  kLookup,
  kForget,
  kGetAttributes,
  kSetAttributes,
  kReadLink,
  kMakeNode,
  kMakeDirectory,
  kMakeSymlink,
  kMakeLink,
  kRemoveFile,
  kRemoveDirectory,
  kRename,
  kCreate,
  kOpen,
  kRead,
  kWrite,
  kFlush,
  kRelease,
  kFsync,
  kAllocate,
  kSeek,
  kCopyRange,
  kOpenDirectory,
  kReadDirectory,
  kReleaseDirectory,
  kFsyncDirectory,
  kGetXattr,
  kSetXattr,
  kListXattr,
  kRemoveXattr,
  kStatFilesystem,
};
inline constexpr size_t kOperations = static_cast<size_t>(Operation::kStatFilesystem) + 1;

std::string_view OperationName(Operation operation);

class Metrics {
 public:
  static constexpr size_t kBuckets = 24;  // the last one is open: 4 s and more

  void Record(Operation operation, int64_t duration_ns) {
    Row& row = rows_[static_cast<size_t>(operation)];
    row.buckets[BucketOf(duration_ns)].fetch_add(1, std::memory_order_relaxed);
    row.total_ns.fetch_add(static_cast<uint64_t>(duration_ns), std::memory_order_relaxed);
  }

  struct Snapshot {
    uint64_t count = 0;
    uint64_t total_ns = 0;
    // The bound of the bucket that holds the median and the 99th percentile.
    uint64_t median_ns = 0;
    uint64_t p99_ns = 0;
  };
  Snapshot Read(Operation operation) const;

  // {"lookup":{"count":…,"total_ns":…,"median_ns":…,"p99_ns":…},…}, without the
  // operations that never happened.
  std::string Json() const;

 private:
  struct alignas(64) Row {
    std::atomic<uint64_t> total_ns{0};
    std::array<std::atomic<uint64_t>, kBuckets> buckets{};
  };

  static size_t BucketOf(int64_t duration_ns);

  std::array<Row, kOperations> rows_;
};

}  // namespace varve
