// Frees the room of what nobody can reach any more.
//
//   versions beyond their rule  ->  saved rows that no version sees  ->  contents that no
//   row names  ->  chunks that no recipe names  ->  packs that are mostly empty
//
// Before chunks are judged, tensors of versions that are near each other are made from one
// another (series_recoder.h): a chunk's row changes, and the packs get rid of what it was.
//
// If less room is free then than there should be, versions that the rules keep go as well,
// the oldest first (collect_oldest.h).
//
// Everything else goes on meanwhile: each step reads the index in pages, and takes
// Tree::mutex() for a few rows at a time. A death in between leaves a store that is whole,
// and work for the next run.
//
// Threads: one of its own that does a run when it is asked for, and by itself once in a
//          while; Run() for those that have none. One run at a time.
// Errors:  those of catalog and packs; they end a run and are told in its report.
#pragma once

#include <atomic>
#include <chrono>
#include <deque>
#include <functional>
#include <optional>
#include <string>
#include <thread>

#include "fs/core/collect_contents.h"
#include "fs/core/collect_packs.h"
#include "fs/core/digester.h"
#include "fs/core/purge.h"
#include "fs/core/series_recoder.h"

namespace varve {

struct CollectOptions {
  bool dry_run = false;                    // only counts
  bool drop_hot = false;                   // hot copies go, too
  bool thorough = false;                   // packs that have a little to gain are emptied, too
  std::optional<PurgeRequest> purge = {};  // that before
};

struct CollectReport {
  CollectOptions options;
  uint64_t file_versions = 0;
  uint64_t directory_versions = 0;
  uint64_t versions_for_room = 0;  // of both: the rules would have kept them
  uint64_t saved_rows = 0;
  uint64_t contents = 0;
  uint64_t content_bytes = 0;  // of them, before sharing and encoding
  uint64_t chunks = 0;
  uint64_t chunk_bytes = 0;  // in packs
  uint64_t hot_bytes = 0;
  ChunkRecoder::Counts recoded;
  CollectPacks::Freed packs;
  PurgeReport purge;  // if one was asked for
  double seconds = 0;
  std::string error;  // "" when it came to its end
};

struct CollectProgress {
  uint64_t asked = 0;              // runs that were asked for, and
  uint64_t finished = 0;           // of those the ones that came to an end
  uint64_t versions_for_room = 0;  // of all runs
  bool running = false;
  std::string step;    // what it is at, "" when nothing runs
  CollectReport last;  // of the last run that ended
  PurgeReport last_purge;
};

class Collector {
 public:
  struct Dependencies {
    Tree& tree;
    LiveFiles& files;
    ContentStore& contents;
    PackStore& packs;
    Digester& digester;
    HotCache& hot;
    Clock& clock;
    // What was applied is durable then. Has the room of a collection.
    std::function<Status()> commit;
    // What was removed is gone, and all directories that changed are captured.
    std::function<Status()> settle;
    // How much room history has to make; 0: none.
    std::function<uint64_t()> missing_bytes;
    // What can be written before anything is freed.
    std::function<uint64_t()> room_bytes;
  };
  explicit Collector(const Dependencies& dependencies)
      : d_(dependencies), series_({d_.tree.catalog(), d_.packs}, [this] { return !stop_; }) {}
  ~Collector() { Stop(); }

  void Start();
  void Stop();

  // A run like this begins soon; of several, one after the other.
  void Ask(CollectOptions options);
  // "dry-run", "hot", "thorough", with commas between them. Fails with EINVAL.
  Status AskFor(std::string_view options);
  // The disk is full, or nearly: the next run comes soon; later each time that one had
  // nothing to do.
  void Hurry();
  CollectProgress Progress();

  // On this thread, from beginning to end.
  CollectReport Run(const CollectOptions& options);

 private:
  void Work();
  // Waits a little; nothing if it is not time yet.
  std::optional<CollectOptions> AwaitNext(std::chrono::nanoseconds since_last, bool* asked);
  Status RunAll(CollectReport* report);
  Status RunPurge(CollectReport* report);
  void AwaitStored();
  // Once through all steps, from the versions to the packs.
  Status Pass(bool thorough, CollectReport* report);
  Status RecodeSeries(bool eager, CollectReport* report);
  Status RunChunks(const CollectContents& contents, bool thorough, CollectReport* report);
  // Drops history until enough room is free, or nothing is left that would help. False when
  // nothing was dropped.
  Result<bool> MakeRoom(CollectReport* report);
  uint64_t DropHot();
  void EnterStep(const char* step);

  Dependencies d_;
  std::thread thread_;
  std::atomic<bool> stop_{false};
  SeriesRecoder series_;  // of whoever runs

  Mutex mutex_;
  CondVar wake_;
  std::deque<CollectOptions> next_ GUARDED_BY(mutex_);
  bool hurried_ GUARDED_BY(mutex_) = false;
  std::chrono::nanoseconds hurried_pause_ GUARDED_BY(mutex_){};
  CollectProgress progress_ GUARDED_BY(mutex_);
};

}  // namespace varve
