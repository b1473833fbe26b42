// The log: batches in the order in which they were applied, in two segment files.
//
// Append() writes one record into the page cache, which survives this process;
// Sync() makes it survive a power cut. Segments are preallocated and written with
// zeros ahead of use, so that flushing an append changes no metadata of the disk.
// A segment grows in steps as it is needed and keeps its size.
//
// A segment may be overwritten once all its records are released. Freeze() goes on
// in the other segment if that one is free, so that the commit that follows frees
// this one as a whole; so does Append() when its segment is full.
//
// Threads:  Append() and Freeze() are called by one thread at a time (the catalog's
//           apply mutex). Sync(), Release() and the getters at any time.
// Errors:   kNoSpace from Append() changed nothing. After any other failure of
//           Append() or Sync() only reopening helps; the caller fences itself. A
//           failed flush is never repeated: the kernel may have dropped the pages
//           and report success the second time.
// Units:    bytes.
// Format:   docs/FORMAT.md, "Log".
#pragma once

#include <array>
#include <atomic>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>

#include "index/log_format.h"
#include "index/log_replay.h"
#include "store/base/disk.h"
#include "store/base/mutex.h"
#include "store/base/result.h"

namespace varve {

struct BatchLogOptions {
  uint64_t segment_bytes_max = 64u << 20;
  bool read_only = false;  // replays, and changes nothing on the disk
};

class BatchLog {
 public:
  // Creates or opens the log in directory `path` and replays what follows `mark`,
  // in order. What was replayed is durable when Open() returns.
  static Result<std::unique_ptr<BatchLog>> Open(Disk& disk, const std::string& path,
                                                const BatchLogOptions& options, const LogMark& mark,
                                                const ReplayFn& replay);

  // Returns the record's sequence number, or nothing if it does not fit until
  // something is released. Fails with kInvalid if it can never fit, kNoSpace or kIo.
  Result<std::optional<uint64_t>> Append(const Batch& batch);

  // The mark for a commit of everything that was appended so far.
  LogMark Freeze();

  // Records up to `sequence` are durable elsewhere.
  void Release(uint64_t sequence);

  // Returns once the records up to `sequence` survive a power cut. Concurrent calls
  // share one flush. REQUIRES: they were appended.
  Status Sync(uint64_t sequence);

  uint64_t appended_sequence() const { return appended_.load(std::memory_order_acquire); }
  // Appended or released ones that a power cut cannot take.
  uint64_t synced_sequence();

 private:
  struct Segment {
    std::unique_ptr<File> file;
    uint64_t size_bytes = 0;             // written with something already
    uint64_t end = kLogBlockBytes;       // behind the last record
    uint64_t last_sequence = 0;          // of that record; 0: there is none
    std::atomic<bool> unflushed{false};  // records were written since the last flush
  };

  explicit BatchLog(const BatchLogOptions& options) : options_(options) {}

  Status OpenSegments(Disk& disk, const std::string& path);
  // Makes the replayed records and a new generation durable, the latter
  // by a header in `header_segment`.
  Status BeginGeneration(const Replayed& replayed, uint32_t header_segment);
  Status Rewrite(const Replayed::Range& range);
  static Status EraseRecordHeader(Segment& segment, uint64_t offset);
  Status Grow(Segment& segment, uint64_t size_bytes);
  bool IsFree(const Segment& segment) const;
  // Goes on at the start of the other segment. REQUIRES: it is free.
  void UseOther();
  // Makes the active segment one that has room; false if none is free.
  Result<bool> MakeRoom(uint64_t record_bytes);
  // Writes record_ at the end of the records.
  Status Write(Segment& segment);
  Status Flush();

  // --- constant after Open() ---
  const BatchLogOptions options_;
  uint64_t generation_ = 0;

  // --- used by Append() and Freeze() only, but for `file` and `unflushed` ---
  std::array<Segment, kLogSegments> segments_;
  uint32_t active_ = 0;
  std::string record_;  // kept to save allocations

  std::atomic<uint64_t> appended_{0};
  std::atomic<uint64_t> released_{0};

  // --- guarded by sync_mutex_ ---
  Mutex sync_mutex_;
  CondVar sync_done_;
  bool syncing_ GUARDED_BY(sync_mutex_) = false;
  uint64_t synced_ GUARDED_BY(sync_mutex_) = 0;
  Status failure_ GUARDED_BY(sync_mutex_);  // of a flush, for all who wait for it
};

}  // namespace varve
