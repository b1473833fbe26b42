#include "fs/core/committer.h"

#include <chrono>

#include "fs/core/journal.h"
#include "store/base/log.h"

namespace varve {
namespace {

constexpr std::chrono::seconds kBeat{1};
constexpr int64_t kSyncAfterNs = int64_t{3} * 1'000'000'000;

}  // namespace

void Committer::Start() {
  thread_ = std::thread([this] { Run(); });
}

void Committer::Stop() {
  {
    MutexLock lock(mutex_);
    stop_ = true;
  }
  wake_.NotifyAll();
  if (thread_.joinable()) thread_.join();
}

void Committer::Hurry() {
  MutexLock lock(mutex_);
  hurry_ = true;
  wake_.NotifyAll();
}

void Committer::Run() {
  while (true) {
    {
      MutexLock lock(mutex_);
      if (!stop_ && !hurry_) wake_.WaitFor(mutex_, kBeat);
      hurry_ = false;
      if (stop_) return;
    }
    Beat();
  }
}

void Committer::Beat() {
  d_.files.TakeSnapshots();
  const Status synced = d_.digester.SyncOlderThan(kSyncAfterNs);
  if (!synced.ok()) {
    LogError("closed data could not be made durable: {}", synced.ToString());
    if (synced.code() == Code::kIo) d_.on_failure(synced);
  }
  d_.on_beat();
  Status committed = CommitNow();
  if (committed.code() == Code::kNoSpace) {
    d_.on_full();
    committed = CommitNow();
  }
  if (committed.ok()) return;
  LogError("the index could not be committed: {}", committed.ToString());
  if (committed.code() == Code::kIo) d_.on_failure(committed);
}

Status Committer::CommitNow(RoomFor room) {
  MutexLock lock(commit_mutex_);
  const std::vector<StageId> removed = d_.stages.TakeRemoved();
  const Status committed =
      d_.catalog.Commit([&](uint64_t sequence, const std::vector<Batch::Change>& changes) {
        return WriteJournal(d_.packs, sequence, changes, room);
      });
  if (!committed.ok()) {
    for (const StageId stage : removed) d_.stages.Remove(stage);
    return committed;
  }
  d_.stages.Reap(removed);
  return Status();
}

}  // namespace varve
