#include "fs/core/collector.h"

#include <sys/resource.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>

#include "fs/core/collect_bases.h"
#include "fs/core/collect_chunks.h"
#include "fs/core/collect_oldest.h"
#include "fs/core/collect_saved.h"
#include "fs/core/collect_versions.h"
#include "store/base/log.h"

namespace varve {
namespace {

// By itself, so long after the last one.
constexpr std::chrono::minutes kPause{10};
// And on a full disk.
constexpr std::chrono::nanoseconds kHurriedPause = std::chrono::seconds(5);
// A purge waits so long for what is to be stored; what is not by then is told.
constexpr int64_t kDrainNs = 100'000'000;
constexpr int kDrainTries = 600;
constexpr int kPurgeTries = 10;
constexpr std::chrono::milliseconds kPurgePause{300};
// Not SCHED_IDLE: it holds the tree's lock for moments, and whoever waits for it would
// wait until a processor is idle.
constexpr int kNice = 10;
// Of the room, recoding may take so much before it is given back.
constexpr uint64_t kRecodeShare = 2;

// Chunks that are met while it exists are left alone.
class CollectingChunks {
 public:
  explicit CollectingChunks(ContentStore& contents) : contents_(contents) {
    contents_.BeginCollection();
  }
  ~CollectingChunks() { contents_.EndCollection(); }
  CollectingChunks(const CollectingChunks&) = delete;
  CollectingChunks& operator=(const CollectingChunks&) = delete;

 private:
  ContentStore& contents_;
};

}  // namespace

void Collector::Start() {
  thread_ = std::thread([this] { Work(); });
}

void Collector::Stop() {
  stop_ = true;
  wake_.NotifyAll();
  if (thread_.joinable()) thread_.join();
}

void Collector::Ask(CollectOptions options) {
  MutexLock lock(mutex_);
  next_.push_back(std::move(options));
  ++progress_.asked;
  wake_.NotifyAll();
}

Status Collector::AskFor(std::string_view text) {
  CollectOptions options;
  while (!text.empty()) {
    const std::string_view word = text.substr(0, text.find(','));
    text.remove_prefix(std::min(text.size(), word.size() + 1));
    if (word == "dry-run") {
      options.dry_run = true;
    } else if (word == "hot") {
      options.drop_hot = true;
    } else if (word == "thorough") {
      options.thorough = true;
    } else {
      return Status::Errno(EINVAL);
    }
  }
  Ask(options);
  return Status();
}

CollectProgress Collector::Progress() {
  MutexLock lock(mutex_);
  return progress_;
}

void Collector::Hurry() {
  MutexLock lock(mutex_);
  hurried_ = true;
  wake_.NotifyAll();
}

std::optional<CollectOptions> Collector::AwaitNext(std::chrono::nanoseconds since_last,
                                                   bool* asked) {
  MutexLock lock(mutex_);
  if (next_.empty() && since_last < kPause && !(hurried_ && since_last >= hurried_pause_))
    wake_.WaitFor(mutex_, std::chrono::milliseconds(500));
  std::optional<CollectOptions> options;
  *asked = !next_.empty();
  if (*asked) {
    options = std::move(next_.front());
    next_.pop_front();
  }
  const bool full = hurried_ && since_last >= hurried_pause_;
  if (!options && (full || since_last >= kPause)) options.emplace().thorough = full;
  if (!options) return options;
  hurried_ = false;
  progress_.running = true;
  return options;
}

void Collector::Work() {
  {
    MutexLock lock(mutex_);
    hurried_pause_ = kHurriedPause;
  }
  setpriority(PRIO_PROCESS, static_cast<id_t>(gettid()), kNice);  // this thread's; best effort
  auto last = std::chrono::steady_clock::now();
  while (!stop_) {
    bool asked = false;
    const std::optional<CollectOptions> options =
        AwaitNext(std::chrono::steady_clock::now() - last, &asked);
    if (!options) continue;
    const CollectReport report = Run(*options);
    last = std::chrono::steady_clock::now();
    MutexLock lock(mutex_);
    progress_.running = false;
    progress_.step.clear();
    if (asked) ++progress_.finished;
    progress_.last = report;
    if (options->purge) progress_.last_purge = report.purge;
    progress_.versions_for_room += report.versions_for_room;
    const bool useful = report.contents > 0 || report.packs.packs > 0;
    hurried_pause_ =
        useful ? kHurriedPause : std::min<std::chrono::nanoseconds>(2 * hurried_pause_, kPause);
  }
}

void Collector::EnterStep(const char* step) {
  MutexLock lock(mutex_);
  progress_.step = step;
}

CollectReport Collector::Run(const CollectOptions& options) {
  CollectReport report;
  report.options = options;
  const int64_t begin_ns = d_.clock.MonotonicNs();
  const Status status = RunAll(&report);
  report.seconds = static_cast<double>(d_.clock.MonotonicNs() - begin_ns) / 1e9;
  if (report.versions_for_room > 0)
    LogWarning("little room is left on the disk: {} versions that the rules keep were dropped",
               report.versions_for_room);
  if (!status.ok()) {
    report.error = status.ToString();
    if (options.purge)
      report.purge.error = status.context().empty() ? report.error : std::string(status.context());
    if (status.code() != Code::kBusy) LogError("the collection ended early: {}", report.error);
  }
  return report;
}

uint64_t Collector::DropHot() {
  MutexLock lock(d_.tree.mutex());
  const uint64_t before = d_.hot.bytes();
  d_.hot.SetMax(0);
  d_.files.TrimHotLocked(&d_.hot);
  return before - d_.hot.bytes();
}

Status Collector::RunAll(CollectReport* report) {
  const bool apply = !report->options.dry_run;
  if (report->options.drop_hot && apply) {
    report->hot_bytes = DropHot();
  }
  // The files of hot copies go with it; and what comes needs an empty log, which on a full
  // disk nobody else may have been able to commit.
  if (apply) RETURN_IF_ERROR(d_.commit());
  if (report->options.thorough) {  // a dry run tells what a real one would do
    // What was removed since the last capture goes as well, if no rule keeps it: the past
    // of the present moment is not judged.
    EnterStep("settling");
    const Status settled = d_.settle();
    if (!settled.ok()) LogWarning("not captured before a collection: {}", settled.ToString());
  }
  if (report->options.purge) RETURN_IF_ERROR(RunPurge(report));
  const Status collected = Pass(report->options.thorough, report);
  if (!apply || (!collected.ok() && collected.code() != Code::kNoSpace)) return collected;
  ASSIGN_OR_RETURN(const bool dropped, MakeRoom(report));
  return dropped ? Status() : collected;
}

Result<bool> Collector::MakeRoom(CollectReport* report) {
  bool dropped_any = false;
  bool hot_dropped = false;
  for (uint64_t missing = d_.missing_bytes(); missing > 0; missing = d_.missing_bytes()) {
    EnterStep("making room");
    if (!std::exchange(hot_dropped, true)) {  // which are only copies
      report->hot_bytes += DropHot();
      RETURN_IF_ERROR(d_.commit());
      continue;
    }
    CollectVersions::Dropped dropped;
    {
      CollectOldest oldest({d_.tree, d_.files, d_.contents, d_.hot}, [this] { return !stop_; });
      ASSIGN_OR_RETURN(dropped, oldest.Drop(missing));
    }
    if (dropped.files + dropped.directories == 0) break;
    dropped_any = true;
    report->file_versions += dropped.files;
    report->directory_versions += dropped.directories;
    report->versions_for_room += dropped.files + dropped.directories;
    // Packs that there was no room to empty can be when others have gone.
    uint64_t packs = 0;
    do {
      packs = report->packs.packs;
      RETURN_IF_ERROR(Pass(/*thorough=*/true, report));
    } while (report->packs.left > 0 && report->packs.packs > packs && d_.missing_bytes() > 0);
  }
  return dropped_any;
}

Status Collector::Pass(bool thorough, CollectReport* report) {
  const bool apply = !report->options.dry_run;
  const auto go_on = [this] { return !stop_; };
  CollectContents contents({d_.tree, d_.files, d_.contents, d_.hot}, go_on);

  EnterStep("versions");
  CollectVersions versions(d_.tree, d_.clock.Now().tv_sec, go_on);
  ASSIGN_OR_RETURN(const CollectVersions::Dropped dropped, versions.Run(apply));
  report->file_versions += dropped.files;
  report->directory_versions += dropped.directories;

  EnterStep("saved rows");
  CollectSaved saved(d_.tree, versions.rows(), go_on);
  ASSIGN_OR_RETURN(const uint64_t saved_rows, saved.Run(apply));
  report->saved_rows += saved_rows;

  EnterStep("contents");
  RETURN_IF_ERROR(contents.Mark(versions.rows(), saved.rows()));
  ASSIGN_OR_RETURN(const CollectContents::Removed removed, contents.Sweep(apply));
  report->contents += removed.contents;
  report->content_bytes += removed.bytes;

  if (apply) RETURN_IF_ERROR(RecodeSeries(thorough, report));
  RETURN_IF_ERROR(RunChunks(contents, thorough, report));
  // What runs meanwhile may use a pack that is to be emptied, but not for long.
  for (int again = 0; again < kPurgeTries && report->options.purge; ++again) {
    if (report->purge.packs_left == 0 || stop_) break;
    std::this_thread::sleep_for(kPurgePause);
    RETURN_IF_ERROR(RunChunks(contents, thorough, report));
  }
  return apply ? d_.commit() : Status();
}

Status Collector::RunPurge(CollectReport* report) {
  EnterStep("waiting until all is stored");
  AwaitStored();
  EnterStep("purging");
  Purge purge({d_.tree, d_.files, d_.contents, d_.hot, d_.packs}, [this] { return !stop_; });
  return purge.Run(*report->options.purge, !report->options.dry_run, &report->purge);
}

// What is not stored yet is not purged. But a writer may keep us waiting for ever.
void Collector::AwaitStored() {
  d_.digester.Hurry();
  for (int i = 0; i < kDrainTries && !stop_; ++i)
    if (d_.digester.Drain(kDrainNs).ok()) return;
}

Status Collector::RecodeSeries(bool eager, CollectReport* report) {
  if (d_.missing_bytes() > 0) return Status();
  EnterStep("recoding");
  ASSIGN_OR_RETURN(const ChunkRecoder::Counts counts,
                   series_.Run(eager, d_.room_bytes() / kRecodeShare));
  report->recoded.chunks += counts.chunks;
  report->recoded.bytes_before += counts.bytes_before;
  report->recoded.bytes_after += counts.bytes_after;
  return Status();
}

Status Collector::RunChunks(const CollectContents& contents, bool thorough, CollectReport* report) {
  const bool apply = !report->options.dry_run;
  const auto go_on = [this] { return !stop_; };
  EnterStep("chunks");
  ASSIGN_OR_RETURN(std::set<uint32_t> purged, PurgedPacks(d_.tree.catalog()));
  if (apply && !purged.empty()) RETURN_IF_ERROR(RemovePurgedRecipes(d_.tree.catalog()));
  const CollectingChunks collecting(d_.contents);
  CollectPacks packs({d_.tree.catalog(), d_.packs, d_.contents, d_.commit, d_.room_bytes}, go_on);
  if (apply) {
    RETURN_IF_ERROR(packs.Choose());
    // What runs now may have looked before chunks were remembered.
    d_.digester.AwaitRunning();
  }
  CollectChunks chunks(d_.tree.catalog(), d_.contents, go_on);
  RETURN_IF_ERROR(
      chunks.Mark([&](ContentId content) { return !apply && contents.IsDead(content); }));
  ASSIGN_OR_RETURN(CollectChunks::Removed removed, chunks.Sweep(apply));
  if (apply && !chunks.orphans().empty()) {
    EnterStep("bases");
    CollectBases bases(d_.tree.catalog(), d_.packs, go_on);
    const Result<uint64_t> freed = bases.Run(chunks.orphans(), purged);
    // Without room for it they stay, as they were; but what was purged is not moved elsewhere.
    const bool may_stay = freed.status().code() == Code::kNoSpace && purged.empty();
    if (!freed.ok() && !may_stay) return freed.status();
    if (!freed.ok() || *freed > 0) {
      ASSIGN_OR_RETURN(removed, chunks.Sweep(apply));
    }
  }
  report->chunks += removed.chunks;
  report->chunk_bytes += removed.bytes;
  if (!apply) return Status();

  EnterStep("packs");
  ASSIGN_OR_RETURN(const CollectPacks::Freed freed, packs.Run(chunks.packs(), thorough, purged));
  report->packs.packs += freed.packs;
  report->packs.bytes += freed.bytes;
  report->packs.moved_bytes += freed.moved_bytes;
  report->packs.left = freed.left;
  const std::set<uint32_t> all = std::exchange(purged, {});
  const std::vector<uint32_t> left = d_.packs.Packs();
  for (const uint32_t pack : all)
    if (!std::binary_search(left.begin(), left.end(), pack)) purged.insert(pack);
  report->purge.packs_left = all.size() - purged.size();
  return ForgetPurgedPacks(purged, d_.tree.catalog());
}

}  // namespace varve
