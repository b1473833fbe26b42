// Reads all that a mounted store has stored, and says what is damaged.
//
//   packs from end to end, past the page cache, at idle priority  ->  chunks that the index
//   names and that were not met  ->  the paths of what needs those that are damaged
//
// It changes nothing but the row that keeps its last report: what is damaged is repaired
// by `varve fsck --repair`. No lock is held while bytes are read. What is stored while it
// runs is read as well, as far as it is in the index when that is looked through.
//
// Threads: one of its own, and a BackgroundThread that reads; Run() for those that have
//          none. One run at a time. All other methods may be called concurrently.
// Errors:  those of catalog and packs; they end a run and are told in its report. Damage
//          is a result.
// Memory:  as ScrubPacks, ScrubChunks, ChunkUsers say: about 10 MiB, and 16 bytes a chunk.
#pragma once

#include <functional>
#include <string>
#include <string_view>
#include <thread>

#include "fs/core/rate_limit.h"
#include "fs/core/scrub_chunks.h"
#include "store/base/mutex.h"

namespace varve {

class BackgroundThread;

struct ScrubProgress {
  uint64_t asked = 0;     // runs that were asked for, and
  uint64_t finished = 0;  // of those the ones that came to an end
  bool running = false;
  uint64_t bytes_done = 0;
  uint64_t bytes_total = 0;  // grows while files are stored
  uint64_t rate_bytes = 0;   // a second; 0: no limit
  ScrubReport last;          // of the last run that ended, on an earlier mount perhaps
};

class Scrubber {
 public:
  struct Dependencies {
    Tree& tree;
    PackStore& packs;
    Clock& clock;
    // Instead of waiting, for the simulator; may be empty.
    std::function<void(int64_t ns)> wait;
  };
  static constexpr std::string_view kReportMeta = "scrub";

  explicit Scrubber(const Dependencies& dependencies) : d_(dependencies), limit_(d_.clock) {}
  ~Scrubber() { Stop(); }

  // The report of the last run on an earlier mount.
  Status Load();
  void Start();
  void Stop();

  // "start" or "rate=BYTES" (a second): a run begins, or the one that runs goes on like
  // this. "stop": it ends early. Fails with EINVAL.
  Status AskFor(std::string_view text);
  ScrubProgress Progress();

  // On this thread, from beginning to end.
  ScrubReport Run();

 private:
  void Work();
  // The number of the run that is to begin; 0: none.
  uint64_t AwaitNext();
  Status RunAll(BackgroundThread* reader, ScrubReport* report);
  ScrubReport RunOn(BackgroundThread* reader);
  // Waits as long as the rate wants. Fails with kBusy when the run shall end.
  Status BeforeRead(uint64_t bytes);
  // A run that was stopped and found nothing does not replace one that came to its end.
  void Save(const ScrubReport& report);

  Dependencies d_;
  std::thread thread_;

  Mutex mutex_;
  CondVar wake_;
  bool stop_ GUARDED_BY(mutex_) = false;    // for good
  bool cancel_ GUARDED_BY(mutex_) = false;  // the present run, or the one that is to begin
  uint64_t asks_ GUARDED_BY(mutex_) = 0;    // each ends a wait for the rate
  RateLimit limit_ GUARDED_BY(mutex_);
  ScrubProgress progress_ GUARDED_BY(mutex_);
};

}  // namespace varve
