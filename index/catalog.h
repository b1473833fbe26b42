// The catalog: an ordered map of keys to values that survives everything.
//
// Truth is an LMDB environment plus an in-memory delta of what was applied since
// its last commit. Apply() appends one checksummed record to a log, without
// flushing it (the page cache survives this process), and puts the batch into
// the delta; Get() and Scan() merge both. Commit() writes the delta and the
// number of the last log record it holds into LMDB, in one synced transaction.
// Opening replays the later records of the log. So:
//
//   Apply() returned       the batch survives the death of this process
//   SyncLog() returned     all earlier batches survive a power cut
//   after any crash        the state is a prefix of the applied batches
//
// The catalog knows keys and bytes only; what they mean is fs/core's business.
//
// Threads:  all methods may be called concurrently; Get() and Scan() never wait
//           for Commit() or for a disk flush. Apply() waits only when the log is
//           full until a commit has emptied it (back-pressure).
// Errors:   after kIo from Apply(), SyncLog() or Commit() the catalog is fenced:
//           all three fail with kReadOnly until it is reopened. A commit that failed
//           for lack of space is not fatal: it keeps the delta and may be retried.
// Units:    bytes. Keys 1 to 400, values 0 to 128 KiB; a batch at most 8 MiB.
// Format:   docs/FORMAT.md, "Log", "Index".
#pragma once

#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "store/base/clock.h"
#include "store/base/disk.h"
#include "store/base/result.h"

namespace varve {

// Changes that happen together or not at all. Later ones win.
class Batch {
 public:
  void Put(std::string key, std::string value) {
    changes_.push_back({std::move(key), std::move(value)});
  }
  void Delete(std::string key) { changes_.push_back({std::move(key), std::nullopt}); }
  bool empty() const { return changes_.empty(); }
  void Append(Batch other) {
    for (Change& change : other.changes_) changes_.push_back(std::move(change));
  }

  struct Change {
    std::string key;
    std::optional<std::string> value;  // nothing: deleted
  };
  const std::vector<Change>& changes() const { return changes_; }

 private:
  std::vector<Change> changes_;
};

// The synced half: LMDB, or a map in the simulator.
class KeyValueStore {
 public:
  virtual ~KeyValueStore() = default;
  virtual Result<std::optional<std::string>> Get(std::string_view key) = 0;
  // Visits [begin, end) in ascending order until `visit` returns false.
  virtual Status Scan(std::string_view begin, std::string_view end,
                      const std::function<bool(std::string_view, std::string_view)>& visit) = 0;
  // Applies ordered, distinct changes and returns when they are durable: all or none.
  virtual Status Write(const std::vector<Batch::Change>& changes) = 0;
  // Bytes on disk.
  virtual uint64_t Bytes() = 0;
};

// LMDB in `path`, an absolute directory. Map of 1 TiB address space, MDB_NOTLS.
Result<std::unique_ptr<KeyValueStore>> OpenLmdb(const std::string& path, bool read_only = false);

struct CatalogStats {
  uint64_t delta_keys = 0;
  uint64_t delta_bytes = 0;
  uint64_t applied_sequence = 0;    // of the newest batch
  uint64_t committed_sequence = 0;  // of the newest in the KeyValueStore
  uint64_t synced_sequence = 0;     // of the newest that survives a power cut
  uint64_t index_bytes = 0;
};

class Catalog {
 public:
  virtual ~Catalog() = default;

  virtual Result<std::optional<std::string>> Get(std::string_view key) = 0;
  // Visits the merged [begin, end) in ascending order until `visit` returns
  // false. `visit` must not call the catalog.
  virtual Status Scan(std::string_view begin, std::string_view end,
                      const std::function<bool(std::string_view, std::string_view)>& visit) = 0;
  // Fails with kNoSpace only if the log cannot grow; then nothing was changed.
  virtual Status Apply(const Batch& batch) = 0;
  virtual Status SyncLog() = 0;
  // `journal` sees the frozen changes (ordered, distinct) and their sequence
  // before they are written; its failure fails the commit, which may be retried.
  using JournalFn = std::function<Status(uint64_t sequence, const std::vector<Batch::Change>&)>;
  virtual Status Commit(const JournalFn& journal) = 0;
  virtual CatalogStats Stats() = 0;
};

struct CatalogOptions {
  uint64_t log_bytes_max = 64u << 20;  // per segment; there are two
};

// `store` and `disk` outlive the catalog. The log lies in directory `path` of `disk`.
// Replays the log; a torn or foreign tail is dropped.
Result<std::unique_ptr<Catalog>> OpenCatalog(KeyValueStore& store, Disk& disk,
                                             const std::string& path,
                                             const CatalogOptions& options);

}  // namespace varve
