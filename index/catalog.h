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
// Keys whose first byte is 0 are its own: Apply() refuses them, Scan() skips them.
//
// Threads:  all methods may be called concurrently; Get() and Scan() never wait
//           for Commit() or for a disk flush. Apply() waits only when the log is
//           full until a commit has emptied it (back-pressure).
// Errors:   after kIo from Apply(), SyncLog() or Commit() the catalog is fenced:
//           all three fail with kReadOnly until it is reopened. So it is after any
//           other failure but kInvalid and kNoSpace, and a journal's own. What the
//           failed call changed is undefined until then: all of its batch or nothing.
//           A commit that failed for lack of space is not fatal: it keeps the delta
//           and may be retried.
// Units:    bytes. Keys 1 to 400, values 0 to 128 KiB; a batch at most 8 MiB
//           (else kInvalid).
// Format:   docs/FORMAT.md, "Log", "Index".
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

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
//
// Threads:  all methods may be called concurrently; readers never wait for Write().
// Errors:   kCorrupt: what is stored cannot be right. After kNoSpace from Write()
//           nothing was changed and it may be called again; after any other failure
//           only reopening helps, and reads may fail with kIo until then.
class KeyValueStore {
 public:
  virtual ~KeyValueStore() = default;
  virtual Result<std::optional<std::string>> Get(std::string_view key) = 0;

  // The state of the instant at which it was opened. Keys and values live until the
  // next call of Next(). One thread uses it, and not for long: while it exists the
  // space of what it sees is not reused.
  class Cursor {
   public:
    virtual ~Cursor() = default;
    virtual bool valid() const = 0;
    // REQUIRES: valid().
    virtual std::string_view key() const = 0;
    virtual std::string_view value() const = 0;
    virtual Status Next() = 0;
  };
  // At the first key that is not below `begin`.
  virtual Result<std::unique_ptr<Cursor>> OpenCursor(std::string_view begin) = 0;

  // Visits [begin, end) in ascending order until `visit` returns false. An empty
  // `end` is behind all keys.
  using VisitFn = std::function<bool(std::string_view key, std::string_view value)>;
  Status Scan(std::string_view begin, std::string_view end, const VisitFn& visit);

  // Applies ordered, distinct changes and returns when they are durable: all or none.
  virtual Status Write(const std::vector<Batch::Change>& changes) = 0;
  // Bytes on disk.
  virtual uint64_t Bytes() = 0;
};

// LMDB in `path`, an absolute directory that is made if it is missing (not if
// `read_only`). Map of 1 TiB address space, MDB_NOTLS. To be called in the process
// that uses it (after daemonising), once per directory at a time. What is there is read and
// verified first: kCorrupt for damage of any kind.
Result<std::unique_ptr<KeyValueStore>> OpenLmdb(const std::string& path, bool read_only = false);

struct CatalogStats {
  uint64_t delta_keys = 0;
  uint64_t delta_bytes = 0;
  uint64_t applied_sequence = 0;    // of the newest batch
  uint64_t committed_sequence = 0;  // of the newest in the KeyValueStore
  uint64_t synced_sequence = 0;     // of the newest that survives a power cut
  uint64_t replayed_batches = 0;    // from the log, when it was opened
  uint64_t index_bytes = 0;
  bool fenced = false;
};

class Catalog {
 public:
  virtual ~Catalog() = default;

  virtual Result<std::optional<std::string>> Get(std::string_view key) = 0;
  // Visits the merged [begin, end) in ascending order until `visit` returns
  // false; an empty `end` is behind all keys. `visit` must not call the catalog,
  // and its views die when it returns. A batch is seen as a whole or not at all,
  // unless more than kScanKeysMax keys lie between two of its keys: a longer scan
  // is made of several, so that it pins no old pages of the KeyValueStore.
  static constexpr size_t kScanKeysMax = 1024;
  virtual Status Scan(std::string_view begin, std::string_view end,
                      const std::function<bool(std::string_view, std::string_view)>& visit) = 0;
  // Fails with kNoSpace only if the log cannot grow, or is full after a commit that
  // failed; then nothing was changed. An empty batch is nothing.
  virtual Status Apply(const Batch& batch) = 0;
  // Returns at once if all that was applied is synced or committed already.
  virtual Status SyncLog() = 0;
  // Freezes what was applied so far and writes it. Calls wait for each other. A
  // commit that failed is first repeated with the same changes, then what came
  // later is frozen; nothing to write is no failure, and calls no journal.
  //
  // `journal` sees the frozen changes (ordered, distinct) and their sequence before
  // they are written; its failure fails the commit, which may be retried. It sees
  // nothing that a power cut could still take back: the log is flushed before. After
  // a failure or a crash it may see changes again, under the same sequence or, with
  // more of them, under a higher one. It must not call Apply() or Commit().
  using JournalFn = std::function<Status(uint64_t sequence, const std::vector<Batch::Change>&)>;
  virtual Status Commit(const JournalFn& journal) = 0;
  virtual CatalogStats Stats() = 0;
  // Cheap.
  virtual bool fenced() const = 0;
};

struct CatalogOptions {
  uint64_t log_bytes_max = 64u << 20;  // per segment; there are two
  // A store without a commit so far, because it is new or was rebuilt, starts behind
  // this sequence number: that of the newest journal, which only grow.
  uint64_t sequence_floor = 0;
  // Replays the log and changes nothing on the disk; Apply(), SyncLog() and Commit()
  // fail with kReadOnly. For fsck.
  bool read_only = false;
};

// `store` and `disk` outlive the catalog. The log lies in directory `path` of `disk`.
// Replays the log; a torn or foreign tail is dropped. What was replayed is durable.
// Fails with kUnsupported if a newer program wrote log or index.
Result<std::unique_ptr<Catalog>> OpenCatalog(KeyValueStore& store, Disk& disk,
                                             const std::string& path,
                                             const CatalogOptions& options);

}  // namespace varve
