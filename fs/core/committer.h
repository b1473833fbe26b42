// The heartbeat: once a second commits what was applied, and keeps promises of time.
//
// A commit writes a journal to the packs, durably, then the index; staging files whose last
// row went with it are removed after. Closed data that the digester has not stored
// after three seconds is made durable in its staging file, so that it is within five.
//
// Threads: one of its own; CommitNow() may be called from any.
#pragma once

#include <atomic>
#include <functional>
#include <thread>

#include "fs/core/digester.h"

namespace varve {

class Committer {
 public:
  struct Dependencies {
    Catalog& catalog;
    PackStore& packs;
    StageArea& stages;
    LiveFiles& files;
    Digester& digester;
    std::function<void(const Status&)> on_failure;  // a flush failed: fence
    std::function<void()> on_full;                  // the disk is: make room
    std::function<void()> on_beat;                  // once a second, for housekeeping
  };
  explicit Committer(const Dependencies& dependencies) : d_(dependencies) {}
  ~Committer() { Stop(); }

  void Start();
  void Stop();

  // Returns when everything applied before is in the index, durably.
  Status CommitNow(RoomFor room = RoomFor::kUpkeep);
  // The next beat comes at once.
  void Hurry();
  // What the thread does once a second, on this thread; for the simulator.
  void Beat();

 private:
  void Run();

  Dependencies d_;
  std::thread thread_;
  Mutex commit_mutex_;  // one commit at a time, with the removals that belong to it
  Mutex mutex_;
  CondVar wake_;
  bool stop_ GUARDED_BY(mutex_) = false;
  bool hurry_ GUARDED_BY(mutex_) = false;
};

}  // namespace varve
