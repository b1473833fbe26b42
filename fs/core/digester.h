// Stores captured contents behind the writers' backs.
//
// Workers take pending contents, freeze each staging file under a read lease,
// digest it, and then make a group of them durable with one flush and one batch.
// A file that is opened for writing in place before its content is stored takes
// its content back: the digest is cancelled, nothing it appended is lost, the next
// digest finds those chunks there.
//
// Threads:    Enqueue and the …Locked methods need Tree::mutex(), which also guards
//             the queue; the others take it.
// Priority:   bytes are read, cut and coded on background threads (background_thread.h);
//             what takes Tree::mutex() is done on workers of normal priority.
// Durability: chunks are durable before the index names them.
#pragma once

#include <atomic>
#include <map>
#include <string>
#include <thread>
#include <vector>

#include "fs/core/background_thread.h"
#include "fs/core/hot_cache.h"
#include "fs/core/live_files.h"

namespace varve {

struct PendingWork {
  uint64_t files = 0;
  uint64_t bytes = 0;
  double oldest_seconds = 0;
};

class Digester final : public DigestQueue {
 public:
  struct Dependencies {
    Tree& tree;
    StageArea& stages;
    ContentStore& contents;
    LiveFiles& files;
    HistoryWriter& history;
    HotCache& hot;
    Clock& clock;
    std::function<void()> on_full;   // the disk is; called without a lock
    std::function<Status()> commit;  // what was applied is durable then
    // What is free on the disk, or taken by hot copies.
    std::function<uint64_t()> room_bytes;
    // And for pieces, which give back what they take.
    std::function<uint64_t()> piece_room_bytes;
  };
  explicit Digester(const Dependencies& dependencies) : d_(dependencies) {}
  ~Digester() override { Stop(); }

  void Start(unsigned threads);
  void Stop();

  void Enqueue(ContentId content) override;
  void CancelLocked(ContentId content) override NO_THREAD_SAFETY_ANALYSIS;

  void StoreNowLocked(ContentId content) override NO_THREAD_SAFETY_ANALYSIS;

  PendingWork Pending();
  // No more waiting for quiet or for a better moment, until the queue is empty.
  void Hurry();
  // Returns when nothing is pending, or after `timeout_ns` (< 0: never) with kBusy.
  Status Drain(int64_t timeout_ns);
  // Syncs the staging files of what has been pending for longer than `age_ns`, so
  // that closed data is durable in time whatever the digest does.
  Status SyncOlderThan(int64_t age_ns);
  // Returns once no digest runs that runs now.
  void AwaitRunning();
  // Digests what is ready, on this thread; for the simulator.
  void RunReady();

  // Why contents failed to be stored, newest last; empty when all is well.
  std::string last_error();

 private:
  struct Job;
  struct Item {
    int64_t enqueued_ns = 0;
    int64_t not_before_ns = 0;
    int64_t retry_ns = 0;
    Job* job = nullptr;    // a worker has it
    uint64_t run = 0;      // which one it is, of all digests
    bool reading = false;  // and holds its lease
    bool again = false;    // enqueued once more meanwhile
    bool synced = false;   // SyncOlderThan has made it durable
  };

  void Work();
  bool RunGroup(BackgroundThread* background);
  std::unique_ptr<Job> TakeLocked(BackgroundThread* background);
  void Digest(Job* job);
  // Where the disk has not the room for the whole: piece by piece, but for the last one.
  Status StorePieces(Job* job);
  Status Read(Job* job);
  void FinishGroup(std::vector<std::unique_ptr<Job>> jobs);
  // The rows that make the job's content a stored one.
  Status AppendStoredLocked(const Job& job, ContentRecord* record, Batch* batch);
  // After they are applied.
  void StoredLocked(const Job& job, const ContentRecord& record);
  void EndLocked(const Job& job, const Status& status);
  bool KeepsStageLocked(const Job& job) const;

  Dependencies d_;
  std::vector<std::thread> threads_;
  std::atomic<bool> stop_ = false;

  // Guarded by Tree::mutex().
  std::map<ContentId, Item> items_;
  bool hurry_ = false;
  uint64_t runs_ = 0;
  std::string last_error_;
  CondVar work_;     // an item may be ready
  CondVar settled_;  // an item ended or let go of its lease
};

}  // namespace varve
