#include "index/catalog.h"

#include <algorithm>
#include <atomic>
#include <limits>
#include <utility>

#include "index/batch_log.h"
#include "index/delta.h"
#include "index/log_format.h"
#include "store/base/mutex.h"

namespace varve {
namespace {

// The catalog's own row of the index: the LogMark of the last commit.
constexpr std::string_view kMarkKey("\0log", 4);
constexpr std::string_view kFirstKey("\1", 1);

// A commit of more is split. LMDB keeps the pages that a transaction touches in memory, and never
// returns it: up to a few pages for each key.
constexpr size_t kWriteKeysMax = 8192;
constexpr uint64_t kWriteBytesMax = 16u << 20;

// What readers see: two deltas over the KeyValueStore. A view is never changed but replaced.
struct View {
  std::shared_ptr<const Delta> active;
  std::shared_ptr<const Delta> frozen;  // empty when no commit is under way
};

// Lock order: commit_mutex_ before apply_mutex_ before view_mutex_. The log's own mutex is a leaf.
class LoggedCatalog final : public Catalog {
 public:
  LoggedCatalog(KeyValueStore& store, bool read_only) : store_(store), read_only_(read_only) {}

  Status Open(Disk& disk, const std::string& path, const CatalogOptions& options);

  Result<std::optional<std::string>> Get(std::string_view key) override;
  Status Scan(std::string_view begin, std::string_view end,
              const std::function<bool(std::string_view, std::string_view)>& visit) override;
  Status Apply(const Batch& batch) override;
  Status SyncLog() override;
  Status Commit(const JournalFn& journal) override;
  CatalogStats Stats() override;
  bool fenced() const override { return fenced_.load(std::memory_order_acquire); }

 private:
  using VisitFn = std::function<bool(std::string_view, std::string_view)>;

  struct Frozen {
    std::shared_ptr<const Delta> delta;
    LogMark mark;
  };

  // Of one instant.
  struct Snapshot {
    std::shared_ptr<const View> view;
    uint64_t sequence = 0;
    std::unique_ptr<KeyValueStore::Cursor> cursor;
  };

  Status CheckWritable() const;
  // Passes `status` on, and fences the catalog if it is one after which nothing is sure.
  Status Checked(Status status) EXCLUDES(apply_mutex_);
  std::shared_ptr<const View> CurrentView() EXCLUDES(view_mutex_);
  void SetView(std::shared_ptr<const Delta> active, std::shared_ptr<const Delta> frozen)
      EXCLUDES(view_mutex_);
  Result<Snapshot> OpenSnapshot(std::string_view begin) EXCLUDES(view_mutex_);
  // Scans up to kScanKeysMax keys and sets `begin` to where to go on; false when all is done.
  Result<bool> ScanSome(std::string* begin, std::string_view end, const VisitFn& visit);
  // Appends to the log; waits for room.
  Result<uint64_t> AppendToLog(const Batch& batch) REQUIRES(apply_mutex_);
  // Takes what was applied so far; false if that is nothing.
  bool Freeze() REQUIRES(commit_mutex_) EXCLUDES(apply_mutex_);
  Status WriteFrozen(const JournalFn& journal) REQUIRES(commit_mutex_) EXCLUDES(apply_mutex_);
  Status WriteChanges(std::vector<Batch::Change> changes, const LogMark& mark);

  // --- dependencies, and constant after Open() ---
  KeyValueStore& store_;
  const bool read_only_;
  std::unique_ptr<BatchLog> log_;
  uint64_t replayed_batches_ = 0;

  Mutex commit_mutex_;
  std::optional<Frozen> frozen_ GUARDED_BY(commit_mutex_);

  // Orders batches: the log, the delta and applied_ change together.
  Mutex apply_mutex_;
  CondVar room_;
  std::shared_ptr<Delta> active_ GUARDED_BY(apply_mutex_);
  bool commit_failed_ GUARDED_BY(apply_mutex_) = false;

  // Held for moments only, so that readers never wait.
  Mutex view_mutex_;
  std::shared_ptr<const View> view_ GUARDED_BY(view_mutex_);

  std::atomic<uint64_t> applied_{0};
  std::atomic<uint64_t> committed_{0};
  std::atomic<bool> fenced_{false};
};

Status LoggedCatalog::Open(Disk& disk, const std::string& path, const CatalogOptions& options) {
  LogMark mark;
  ASSIGN_OR_RETURN(const std::optional<std::string> stored, store_.Get(kMarkKey));
  if (stored) {
    ASSIGN_OR_RETURN(mark, DecodeLogMark(*stored));
  }
  const uint64_t floor = mark.sequence == 0 ? options.sequence_floor : 0;
  // The mark is written at once: an index without a row never belongs to a store with data.
  if (!options.read_only && (!stored || floor > 0)) {
    mark.sequence = floor;
    RETURN_IF_ERROR(store_.Write({{std::string(kMarkKey), EncodeLogMark(mark)}}));
  }
  auto delta = std::make_shared<Delta>();
  const auto replay = [&](uint64_t sequence, ByteView body) {
    ++replayed_batches_;
    return DecodeBatch(body, [&](std::string_view key, std::optional<std::string_view> value) {
      delta->Add(sequence, key, value);
    });
  };
  BatchLogOptions log_options;
  log_options.segment_bytes_max = options.log_bytes_max;
  log_options.read_only = options.read_only;
  ASSIGN_OR_RETURN(log_, BatchLog::Open(disk, path, log_options, mark, replay));
  applied_ = log_->appended_sequence();
  committed_ = mark.sequence;
  SetView(delta, std::make_shared<Delta>());
  MutexLock lock(apply_mutex_);
  active_ = std::move(delta);
  return {};
}

Status LoggedCatalog::CheckWritable() const {
  if (read_only_) return Status(Code::kReadOnly, "the catalog is opened read-only");
  if (fenced_.load(std::memory_order_acquire))
    return Status(Code::kReadOnly, "the catalog is fenced after an I/O error");
  return {};
}

Status LoggedCatalog::Checked(Status status) {
  if (status.ok() || status.code() == Code::kNoSpace || status.code() == Code::kInvalid)
    return status;
  fenced_.store(true, std::memory_order_release);
  MutexLock lock(apply_mutex_);
  room_.NotifyAll();
  return status;
}

std::shared_ptr<const View> LoggedCatalog::CurrentView() {
  MutexLock lock(view_mutex_);
  return view_;
}

void LoggedCatalog::SetView(std::shared_ptr<const Delta> active,
                            std::shared_ptr<const Delta> frozen) {
  std::shared_ptr<const View> view =
      std::make_shared<View>(View{std::move(active), std::move(frozen)});
  MutexLock lock(view_mutex_);
  view_.swap(view);
  // The old view, and with it perhaps a large delta, is destroyed behind the lock.
}

Result<std::optional<std::string>> LoggedCatalog::Get(std::string_view key) {
  {
    const std::shared_ptr<const View> view = CurrentView();
    const uint64_t sequence = applied_.load(std::memory_order_acquire);
    for (const Delta* delta : {view->active.get(), view->frozen.get()}) {
      const Delta::Lookup found = delta->Find(key, sequence);
      if (!found.found) continue;
      if (!found.value) return std::optional<std::string>();
      return std::optional<std::string>(*found.value);
    }
  }
  // Not in the deltas a moment ago, so what the store holds now is no older than that moment.
  return store_.Get(key);
}

Status LoggedCatalog::Apply(const Batch& batch) {
  if (batch.empty()) return {};
  RETURN_IF_ERROR(CheckBatch(batch));
  Status outcome;
  {
    MutexLock lock(apply_mutex_);
    const Result<uint64_t> sequence = AppendToLog(batch);
    if (sequence.ok()) {
      for (const Batch::Change& change : batch.changes())
        active_->Add(*sequence, change.key, change.value);
      applied_.store(*sequence, std::memory_order_release);
      return {};
    }
    outcome = sequence.status();
    // Before anybody else can append behind what failed.
    if (outcome.code() != Code::kNoSpace && outcome.code() != Code::kInvalid)
      fenced_.store(true, std::memory_order_release);
  }
  return Checked(std::move(outcome));
}

Result<uint64_t> LoggedCatalog::AppendToLog(const Batch& batch) {
  for (;;) {
    RETURN_IF_ERROR(CheckWritable());
    ASSIGN_OR_RETURN(const std::optional<uint64_t> sequence, log_->Append(batch));
    if (sequence) return *sequence;
    // Nobody knows when a commit will succeed again: better an error than a hanging process.
    if (commit_failed_) return Status(Code::kNoSpace, "the log is full and cannot be committed");
    room_.Wait(apply_mutex_);
  }
}

Status LoggedCatalog::SyncLog() {
  RETURN_IF_ERROR(CheckWritable());
  const uint64_t applied = applied_.load(std::memory_order_acquire);
  if (applied <= committed_.load(std::memory_order_acquire)) return {};
  const Status synced = log_->Sync(applied);
  if (synced.ok()) return synced;
  // Even for lack of space: what a failed flush has dropped, a second one does not write.
  fenced_.store(true, std::memory_order_release);
  return Checked(synced);
}

Status LoggedCatalog::Commit(const JournalFn& journal) {
  MutexLock lock(commit_mutex_);
  RETURN_IF_ERROR(CheckWritable());
  if (frozen_) RETURN_IF_ERROR(WriteFrozen(journal));
  if (!Freeze()) return {};
  return WriteFrozen(journal);
}

bool LoggedCatalog::Freeze() {
  MutexLock lock(apply_mutex_);
  if (active_->keys() == 0) return false;
  std::shared_ptr<Delta> full = std::exchange(active_, std::make_shared<Delta>());
  frozen_ = Frozen{full, log_->Freeze()};
  SetView(active_, std::move(full));
  return true;
}

Status LoggedCatalog::WriteFrozen(const JournalFn& journal) {
  const LogMark mark = frozen_->mark;
  Status outcome;
  {
    std::vector<Batch::Change> changes;
    changes.reserve(frozen_->delta->keys());
    for (Delta::Cursor cursor(*frozen_->delta, mark.sequence, ""); cursor.valid(); cursor.Next()) {
      changes.push_back({std::string(cursor.key()), std::nullopt});
      if (const auto value = cursor.value()) changes.back().value.emplace(*value);
    }
    // Neither a journal nor a part of the changes may outlive a batch that a power cut takes back.
    if (journal || changes.size() > kWriteKeysMax || frozen_->delta->bytes() > kWriteBytesMax)
      RETURN_IF_ERROR(SyncLog());
    if (journal) outcome = journal(mark.sequence, changes);
    if (outcome.code() == Code::kIo) outcome = Checked(std::move(outcome));
    if (outcome.ok()) outcome = Checked(WriteChanges(std::move(changes), mark));
  }
  if (outcome.ok()) {
    committed_.store(mark.sequence, std::memory_order_release);
    frozen_.reset();
  }
  std::shared_ptr<const Delta> active;
  {
    MutexLock lock(apply_mutex_);
    active = active_;
    commit_failed_ = !outcome.ok();
    if (outcome.ok()) log_->Release(mark.sequence);
    room_.NotifyAll();
  }
  // Only Commit() replaces views, so this one is still that of `active`.
  if (outcome.ok()) SetView(std::move(active), std::make_shared<Delta>());
  return outcome;
}

Status LoggedCatalog::WriteChanges(std::vector<Batch::Change> changes, const LogMark& mark) {
  // Parts are idempotent, and hidden until the mark follows with the last one: readers see the
  // frozen delta above them, and recovery replays it from the log.
  std::vector<Batch::Change> part;
  size_t next = 0;
  while (next < changes.size()) {
    part.clear();
    uint64_t bytes = 0;
    while (next < changes.size() && part.size() < kWriteKeysMax && bytes < kWriteBytesMax) {
      Batch::Change& change = changes[next++];
      bytes += change.key.size() + (change.value ? change.value->size() : 0);
      part.push_back(std::move(change));
    }
    if (next == changes.size())
      part.insert(part.begin(), {std::string(kMarkKey), EncodeLogMark(mark)});
    RETURN_IF_ERROR(store_.Write(part));
  }
  return {};
}

Result<LoggedCatalog::Snapshot> LoggedCatalog::OpenSnapshot(std::string_view begin) {
  // The cursor must be neither behind the deltas nor ahead of them. A commit takes its delta from
  // the view only once the store has it, and no view comes back; so an unchanged view fits.
  Snapshot snapshot;
  do {
    snapshot.view = CurrentView();
    snapshot.cursor.reset();
    ASSIGN_OR_RETURN(snapshot.cursor, store_.OpenCursor(begin));
  } while (snapshot.view != CurrentView());
  snapshot.sequence = applied_.load(std::memory_order_acquire);
  return snapshot;
}

Status LoggedCatalog::Scan(std::string_view begin, std::string_view end, const VisitFn& visit) {
  std::string from(std::max(begin, kFirstKey));
  for (;;) {
    ASSIGN_OR_RETURN(const bool more, ScanSome(&from, end, visit));
    if (!more) return {};
  }
}

Result<bool> LoggedCatalog::ScanSome(std::string* begin, std::string_view end,
                                     const VisitFn& visit) {
  ASSIGN_OR_RETURN(const Snapshot snapshot, OpenSnapshot(*begin));
  Delta::Cursor active(*snapshot.view->active, snapshot.sequence, *begin);
  Delta::Cursor frozen(*snapshot.view->frozen, snapshot.sequence, *begin);
  KeyValueStore::Cursor& stored = *snapshot.cursor;
  for (size_t keys = 0;; ++keys) {
    if (!active.valid() && !frozen.valid() && !stored.valid()) return false;
    // The smallest key; of equal ones the newest.
    std::string_view key = stored.valid() ? stored.key() : std::string_view();
    if (frozen.valid() && (!stored.valid() || frozen.key() <= key)) key = frozen.key();
    if (active.valid() && ((!stored.valid() && !frozen.valid()) || active.key() <= key))
      key = active.key();
    if (!end.empty() && key >= end) return false;
    if (keys == kScanKeysMax) {
      *begin = key;
      return true;
    }
    const bool in_active = active.valid() && active.key() == key;
    const bool in_frozen = frozen.valid() && frozen.key() == key;
    const bool in_stored = stored.valid() && stored.key() == key;
    std::optional<std::string_view> value;
    if (in_active) {
      value = active.value();
    } else if (in_frozen) {
      value = frozen.value();
    } else {
      value = stored.value();
    }
    if (value && !visit(key, *value)) return false;
    if (in_active) active.Next();
    if (in_frozen) frozen.Next();
    if (in_stored) RETURN_IF_ERROR(stored.Next());
  }
}

CatalogStats LoggedCatalog::Stats() {
  const std::shared_ptr<const View> view = CurrentView();
  CatalogStats stats;
  for (const Delta* delta : {view->active.get(), view->frozen.get()}) {
    stats.delta_keys += delta->keys();
    stats.delta_bytes += delta->bytes();
  }
  stats.applied_sequence = applied_.load(std::memory_order_acquire);
  stats.committed_sequence = committed_.load(std::memory_order_acquire);
  stats.synced_sequence = read_only_ ? stats.committed_sequence : log_->synced_sequence();
  stats.replayed_batches = replayed_batches_;
  stats.index_bytes = store_.Bytes();
  stats.fenced = fenced_.load(std::memory_order_acquire);
  return stats;
}

}  // namespace

Result<std::unique_ptr<Catalog>> OpenCatalog(KeyValueStore& store, Disk& disk,
                                             const std::string& path,
                                             const CatalogOptions& options) {
  auto catalog = std::make_unique<LoggedCatalog>(store, options.read_only);
  RETURN_IF_ERROR(catalog->Open(disk, path, options));
  return std::unique_ptr<Catalog>(std::move(catalog));
}

}  // namespace varve
