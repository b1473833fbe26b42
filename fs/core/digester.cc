#include "fs/core/digester.h"

#include <unistd.h>

#include <algorithm>
#include <chrono>

#include "fs/core/content_verdict.h"
#include "fs/core/piece_store.h"
#include "store/base/log.h"

namespace varve {
namespace {

constexpr int64_t kMillisecond = 1'000'000;
// A close is often followed at once by a rename, a chmod or a reopen.
constexpr int64_t kQuietNs = 100 * kMillisecond;
constexpr int64_t kRetryFirstNs = 200 * kMillisecond;
constexpr int64_t kRetryMaxNs = 10'000 * kMillisecond;
// Longer than a digest takes, unless a writer holds the staging file.
constexpr int64_t kStoreNowNs = 3000 * kMillisecond;
// A group shares one flush.
constexpr size_t kGroupJobs = 256;
constexpr uint64_t kGroupBytes = 64u << 20;
// What is stored takes so much more than its bytes: journals, headers, tables.
constexpr uint64_t kOverheadShare = 8;
// Of the free room, for a piece; the index and the log want some, too.
constexpr uint64_t kPieceShare = 2;
constexpr uint64_t kPieceBytesMin = 1u << 20;
constexpr uint64_t kPieceBytesMax = 256u << 20;

}  // namespace

// One content on its way. What a worker reads from and what came of it.
struct Digester::Job : public ContentSource, public SparseSource {
  ContentId content = 0;
  ContentRecord record;
  std::shared_ptr<File> stage;
  std::shared_ptr<OverlayBody> overlay;
  bool leased = false;
  struct stat stat {};
  uint64_t size = 0;
  uint64_t pieces = 0;  // that were stored of it
  Completeness verdict;
  Digested digested;
  Status status;
  Digester* owner = nullptr;
  BackgroundThread* background = nullptr;  // it runs there; null: on the worker itself
  std::atomic<bool> cancelled = false;

  // ContentSource, SparseSource.
  uint64_t size_bytes() const override { return size; }
  Result<ByteRange> NextData(uint64_t offset) override {
    Result<uint64_t> begin = Seek(offset, SEEK_DATA);
    if (!begin.ok() && begin.status().os_errno() == ENXIO) return ByteRange{size, size};
    RETURN_IF_ERROR(begin.status());
    Result<uint64_t> end = Seek(*begin, SEEK_HOLE);
    RETURN_IF_ERROR(end.status());
    return ByteRange{std::min(*begin, size), std::min(*end, size)};
  }
  Result<uint64_t> Seek(uint64_t offset, int whence) override {
    return overlay ? overlay->Seek(offset, whence) : stage->Seek(offset, whence);
  }
  Result<size_t> ReadAt(uint64_t offset, MutableBytes out) override {
    if (!overlay) return stage->ReadAt(offset, out);
    RETURN_IF_ERROR(overlay->ReadInto(offset, out));
    return out.size();
  }
  // Somebody waits for it.
  void Hurry() {
    if (background != nullptr) background->Hurry();
  }
  // A lease that somebody waits for, or a reopen, ends the digest.
  bool Cancelled() override {
    return cancelled.load(std::memory_order_relaxed) ||
           owner->stop_.load(std::memory_order_relaxed) || (leased && !stage->LeaseHolds());
  }
};

void Digester::Start(unsigned threads) {
  for (unsigned i = 0; i < threads; ++i) threads_.emplace_back([this] { Work(); });
}

void Digester::Stop() {
  stop_ = true;
  {
    MutexLock lock(d_.tree.mutex());
    work_.NotifyAll();
  }
  for (std::thread& thread : threads_) thread.join();
  threads_.clear();
}

void Digester::Enqueue(ContentId content) {
  const int64_t now = d_.clock.MonotonicNs();
  Item& item = items_[content];
  if (item.job != nullptr) {
    item.again = true;
    item.synced = false;  // it went on
    return;
  }
  if (item.enqueued_ns != 0) return;
  item.enqueued_ns = now;
  item.not_before_ns = hurry_ ? 0 : now + kQuietNs;
  item.retry_ns = kRetryFirstNs;
  work_.NotifyOne();
}

void Digester::CancelLocked(ContentId content) {
  auto it = items_.find(content);
  if (it == items_.end()) return;
  if (it->second.job == nullptr) {
    items_.erase(it);
    return;
  }
  it->second.job->cancelled = true;
  it->second.job->Hurry();
  for (; it != items_.end() && it->second.reading; it = items_.find(content))
    settled_.Wait(d_.tree.mutex());
}

void Digester::StoreNowLocked(ContentId content) {
  Enqueue(content);
  const int64_t deadline = d_.clock.MonotonicNs() + kStoreNowNs;
  for (auto it = items_.find(content); it != items_.end(); it = items_.find(content)) {
    if (threads_.empty() || d_.clock.MonotonicNs() >= deadline) return;
    it->second.not_before_ns = 0;
    if (it->second.job != nullptr) it->second.job->Hurry();
    work_.NotifyAll();
    settled_.WaitFor(d_.tree.mutex(), std::chrono::milliseconds(20));
  }
}

PendingWork Digester::Pending() {
  MutexLock lock(d_.tree.mutex());
  PendingWork work;
  const int64_t now = d_.clock.MonotonicNs();
  for (const auto& [content, item] : items_) {
    ++work.files;
    const Result<ContentRecord> record = d_.tree.Content(content);
    if (record.ok()) work.bytes += record->size_bytes;
    work.oldest_seconds =
        std::max(work.oldest_seconds, static_cast<double>(now - item.enqueued_ns) / 1e9);
  }
  return work;
}

void Digester::Hurry() {
  MutexLock lock(d_.tree.mutex());
  if (items_.empty()) return;
  hurry_ = true;
  for (auto& [content, item] : items_) item.not_before_ns = 0;
  work_.NotifyAll();
}

Status Digester::Drain(int64_t timeout_ns) {
  Hurry();
  const int64_t begin = d_.clock.MonotonicNs();
  MutexLock lock(d_.tree.mutex());
  while (!items_.empty()) {
    if (timeout_ns >= 0 && d_.clock.MonotonicNs() - begin >= timeout_ns)
      return Status(Code::kBusy, std::to_string(items_.size()) + " files are not stored yet");
    settled_.WaitFor(d_.tree.mutex(), std::chrono::milliseconds(50));
  }
  return Status();
}

void Digester::AwaitRunning() {
  MutexLock lock(d_.tree.mutex());
  const uint64_t last = runs_;
  const auto runs = [&] {
    return std::any_of(items_.begin(), items_.end(), [&](const auto& item) {
      return item.second.job != nullptr && item.second.run <= last;
    });
  };
  while (runs() && !stop_) settled_.WaitFor(d_.tree.mutex(), std::chrono::milliseconds(50));
}

void Digester::Work() {
  BackgroundThread background;
  while (!stop_) {
    if (RunGroup(&background)) continue;
    MutexLock lock(d_.tree.mutex());
    if (stop_) return;
    work_.WaitFor(d_.tree.mutex(), std::chrono::milliseconds(items_.empty() ? 1000 : 50));
  }
}

void Digester::RunReady() {
  while (RunGroup(nullptr)) {
  }
}

// Digests up to one group's worth. False when nothing was ready.
bool Digester::RunGroup(BackgroundThread* background) {
  std::vector<std::unique_ptr<Job>> jobs;
  uint64_t bytes = 0;
  while (jobs.size() < kGroupJobs && bytes < kGroupBytes && !stop_) {
    std::unique_ptr<Job> job;
    {
      MutexLock lock(d_.tree.mutex());
      job = TakeLocked(background);
    }
    if (!job) break;
    Digest(job.get());
    bytes += job->size;
    jobs.push_back(std::move(job));
  }
  if (jobs.empty()) return false;
  FinishGroup(std::move(jobs));
  return true;
}

std::unique_ptr<Digester::Job> Digester::TakeLocked(BackgroundThread* background) {
  const int64_t now = d_.clock.MonotonicNs();
  for (auto it = items_.begin(); it != items_.end();) {
    Item& item = it->second;
    if (item.job != nullptr || item.not_before_ns > now) {
      ++it;
      continue;
    }
    const Result<ContentRecord> record = d_.tree.Content(it->first);
    const std::shared_ptr<OpenFile> file =
        record.ok() ? d_.files.FindLocked(record->inode) : nullptr;
    // What is being written enqueues itself again at its last close.
    const bool written = file && file->content == it->first && file->writers > 0;
    if (!record.ok() || !record->captured || record->stored || written) {
      it = items_.erase(it);
      settled_.NotifyAll();
      continue;
    }
    auto job = std::make_unique<Job>();
    job->content = it->first;
    job->record = *record;
    job->owner = this;
    job->background = background;
    item.job = job.get();
    item.run = ++runs_;
    item.reading = true;
    item.again = false;
    return job;
  }
  if (items_.empty()) hurry_ = false;
  return nullptr;
}

void Digester::Digest(Job* job) {
  job->status = StorePieces(job);
  const auto read = [&] { job->status = Read(job); };
  if (job->status.ok()) job->background != nullptr ? job->background->Run(read) : read();
  if (job->leased) job->stage->DropLease();
  MutexLock lock(d_.tree.mutex());
  items_.at(job->content).reading = false;
  settled_.NotifyAll();
}

Status Digester::StorePieces(Job* job) {
  if (job->record.size_bytes <= kPieceBytesMin) return Status();
  struct stat stat {};
  {
    ASSIGN_OR_RETURN(const auto stage, d_.stages.Open(job->record.stage, OpenMode::kRead));
    ASSIGN_OR_RETURN(stat, stage->Stat());
  }
  const uint64_t staged = static_cast<uint64_t>(stat.st_blocks) * 512;
  const uint64_t room = d_.room_bytes();
  if (staged + staged / kOverheadShare <= room || staged <= kPieceBytesMin) return Status();
  PieceStore::Options options;
  options.piece_bytes = std::clamp(room / kPieceShare, kPieceBytesMin, kPieceBytesMax);
  options.room_bytes = d_.piece_room_bytes;
  options.cancelled = [&] {
    return job->cancelled.load(std::memory_order_relaxed) || stop_.load(std::memory_order_relaxed);
  };
  options.run = [&](const std::function<void()>& work) {
    job->background != nullptr ? job->background->Run(work) : work();
  };
  PieceStore pieces({d_.tree, d_.stages, d_.contents, d_.files, d_.commit});
  const Status stored = pieces.Run(job->content, options, &job->pieces);
  if (job->pieces > 0)
    LogInfo("stored in pieces, for lack of room: {} of content {}", job->pieces, job->content);
  // Somebody has it open, and it may fit.
  if (stored.code() == Code::kBusy && job->pieces == 0 && staged <= room) return Status();
  RETURN_IF_ERROR(stored);
  ASSIGN_OR_RETURN(job->record, d_.tree.Content(job->content));
  return Status();
}

Status Digester::Read(Job* job) {
  std::optional<DigestBase> base;
  if (job->record.overlay) {
    ASSIGN_OR_RETURN(job->overlay,
                     d_.files.OpenOverlay(job->content, job->record, OpenMode::kRead));
    job->stage = job->overlay->stage();
    base = job->overlay->Difference();
  } else {
    ASSIGN_OR_RETURN(job->stage, d_.stages.Open(job->record.stage, OpenMode::kRead));
    // Only the kernel can write behind our back, and only to whole staging files.
    const Status lease = job->stage->AcquireLease();
    if (lease.code() == Code::kBusy) return lease;
    job->leased = lease.ok();
  }
  if (job->Cancelled()) return Status(Code::kBusy);
  ASSIGN_OR_RETURN(job->stat, job->stage->Stat());
  job->size = static_cast<uint64_t>(job->stat.st_size);
  ASSIGN_OR_RETURN(job->verdict, JudgeContent(*job));
  ASSIGN_OR_RETURN(job->digested, d_.contents.Digest(*job, job->content, base));
  ASSIGN_OR_RETURN(const struct stat after, job->stage->Stat());
  if (Stamp::Of(after) == Stamp::Of(job->stat)) return Status();
  return Status(Code::kBusy, "it changed while it was digested");
}

void Digester::FinishGroup(std::vector<std::unique_ptr<Job>> jobs) {
  const bool any = std::any_of(jobs.begin(), jobs.end(),
                               [](const auto& job) { return !job->digested.batch.empty(); });
  const Status synced = any ? d_.contents.Sync() : Status();
  const bool full =
      synced.code() == Code::kNoSpace || std::any_of(jobs.begin(), jobs.end(), [](const auto& job) {
        return job->status.code() == Code::kNoSpace;
      });
  if (full && d_.on_full) d_.on_full();
  MutexLock lock(d_.tree.mutex());
  for (const std::unique_ptr<Job>& job : jobs) {
    if (job->status.ok() && job->cancelled) job->status = Status(Code::kBusy);
    if (!synced.ok()) job->status = synced;
    ContentRecord record = job->record;
    Batch batch;
    if (job->status.ok()) {
      job->status = AppendStoredLocked(*job, &record, &batch);
    } else if (synced.ok()) {
      // Its chunks are in packs, and another content may share them already.
      for (const Batch::Change& change : job->digested.batch.changes())
        if (change.key[0] == key::kChunk) batch.Put(change.key, *change.value);
    }
    const Status applied = batch.empty() ? Status() : d_.tree.Apply(batch);
    if (!applied.ok()) job->status = applied;
    if (job->status.ok()) StoredLocked(*job, record);
    d_.contents.Forget(job->digested.new_chunks);
    EndLocked(*job, job->status);
  }
  settled_.NotifyAll();
}

Status Digester::AppendStoredLocked(const Job& job, ContentRecord* record, Batch* batch) {
  if (job.record.overlay && d_.files.IsFlushedLocked(job.content)) return Status(Code::kBusy);
  ASSIGN_OR_RETURN(*record, d_.tree.Content(job.content));
  const bool keep = KeepsStageLocked(job);
  batch->Append(job.digested.batch);
  record->stored = record->durable = true;
  Result<InodeRecord> inode = d_.tree.Inode(record->inode);
  Completeness verdict = job.verdict;
  if (inode.ok()) JudgeByName(inode->name, &verdict);
  record->complete = verdict.complete;
  record->format = verdict.format;
  record->incomplete_reason = verdict.reason;
  const bool resized = record->size_bytes != job.size;
  record->size_bytes = job.size;
  if (record->overlay) {
    const key::Range range = key::AllExtents(job.content);
    RETURN_IF_ERROR(d_.tree.catalog().Scan(range.begin, range.end,
                                           [&](std::string_view row_key, std::string_view) {
                                             batch->Delete(std::string(row_key));
                                             return true;
                                           }));
    record->overlay = false;
  }
  if (!keep) {
    batch->Delete(key::Stage(record->stage));
    record->stage = 0;
  }
  Tree::PutContent(job.content, *record, batch);
  if (!inode.ok() || inode->content != job.content) return Status();  // it has gone on
  inode->hole_bytes = job.digested.hole_bytes;
  if (resized) {
    // Stored through a mapping after the close: the version follows.
    inode->size_bytes = job.size;
    inode->modify_time = job.stat.st_mtim;
    RETURN_IF_ERROR(d_.history.Capture(record->inode, *inode, job.content, batch));
  }
  Tree::PutInode(record->inode, *inode, batch);
  return Status();
}

bool Digester::KeepsStageLocked(const Job& job) const {
  if (job.record.overlay) return false;
  const std::shared_ptr<OpenFile> file = d_.files.FindLocked(job.record.inode);
  if (file && file->content == job.content) return true;
  return job.size >= HotCache::kSmallBytes;
}

void Digester::StoredLocked(const Job& job, const ContentRecord& record) {
  const std::shared_ptr<OpenFile> file = d_.files.FindLocked(record.inode);
  if (file && file->content == job.content) file->record = record;
  if (record.stage == 0) {
    d_.stages.Remove(job.record.stage);
    return;
  }
  d_.files.NoteHotLocked();
  d_.hot.Add(job.content, job.size);
  d_.files.TrimHotLocked(&d_.hot);
}

void Digester::EndLocked(const Job& job, const Status& status) {
  const auto it = items_.find(job.content);
  CHECK(it != items_.end());
  Item& item = it->second;
  item.job = nullptr;
  const int64_t now = d_.clock.MonotonicNs();
  if (status.ok() || (job.cancelled && !item.again)) {
    items_.erase(it);  // a cancelled one is enqueued again at its next close
    return;
  }
  if (status.code() != Code::kBusy) {
    last_error_ = d_.tree.PathOf(job.record.inode) + ": " + status.ToString();
    LogError("cannot store {}; it stays in its staging file and is tried again", last_error_);
  }
  if (job.pieces > 0) item.retry_ns = kRetryFirstNs;
  item.not_before_ns = now + (job.cancelled ? kQuietNs : item.retry_ns);
  item.retry_ns = std::min(item.retry_ns * 2, kRetryMaxNs);
}

std::string Digester::last_error() {
  MutexLock lock(d_.tree.mutex());
  return last_error_;
}

Status Digester::SyncOlderThan(int64_t age_ns) {
  struct Due {
    ContentId content;
    StageId stage;
    bool durable;  // but perhaps not what was written after its last fsync
  };
  std::vector<Due> due;
  {
    MutexLock lock(d_.tree.mutex());
    const int64_t now = d_.clock.MonotonicNs();
    for (auto& [content, item] : items_) {
      if (item.synced || now - item.enqueued_ns < age_ns) continue;
      const Result<ContentRecord> record = d_.tree.Content(content);
      if (!record.ok() || record->stage == 0 || record->stored) continue;
      item.synced = true;
      due.push_back({content, record->stage, record->durable});
    }
  }
  for (const Due& one : due) {
    const Status flushed = d_.files.FlushPending(one.content);
    if (flushed.code() == Code::kBusy) {
      MutexLock lock(d_.tree.mutex());
      if (const auto it = items_.find(one.content); it != items_.end()) it->second.synced = false;
      continue;
    }
    RETURN_IF_ERROR(flushed);
    if (one.durable) continue;
    RETURN_IF_ERROR(d_.stages.SyncName(one.stage));
    MutexLock lock(d_.tree.mutex());
    RETURN_IF_ERROR(d_.files.MarkDurableLocked(one.content, one.stage));
  }
  return Status();
}

}  // namespace varve
