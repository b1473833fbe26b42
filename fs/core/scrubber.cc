#include "fs/core/scrubber.h"

#include <sys/resource.h>
#include <unistd.h>

#include <algorithm>
#include <charconv>
#include <chrono>
#include <utility>

#include "fs/core/background_thread.h"
#include "store/base/log.h"

namespace varve {
namespace {

// Of the thread that looks into the index: it holds the tree's lock for moments.
constexpr int kNice = 10;
constexpr uint64_t kFilesLoggedMax = 1000;

Status Stopped() { return Status(Code::kBusy, "the scrub was stopped"); }

}  // namespace

Status Scrubber::Load() {
  ASSIGN_OR_RETURN(const std::optional<std::string> row,
                   d_.tree.catalog().Get(key::Meta(kReportMeta)));
  if (!row) return Status();
  Result<ScrubReport> report = ScrubReport::Decode(*row);
  MutexLock lock(mutex_);
  if (report.ok()) progress_.last = *std::move(report);  // else as if there had been none
  return Status();
}

void Scrubber::Start() {
  thread_ = std::thread([this] { Work(); });
}

void Scrubber::Stop() {
  {
    MutexLock lock(mutex_);
    stop_ = true;
    wake_.NotifyAll();
  }
  if (thread_.joinable()) thread_.join();
}

Status Scrubber::AskFor(std::string_view text) {
  constexpr std::string_view kRate = "rate=";
  uint64_t rate_bytes = 0;
  if (text.starts_with(kRate)) {
    text.remove_prefix(kRate.size());
    const auto [end, error] = std::from_chars(text.begin(), text.end(), rate_bytes);
    if (error != std::errc() || end != text.end() || rate_bytes == 0) return Status::Errno(EINVAL);
  } else if (text != "start" && text != "stop") {
    return Status::Errno(EINVAL);
  }
  MutexLock lock(mutex_);
  ++asks_;
  wake_.NotifyAll();
  const bool idle = progress_.asked == progress_.finished;
  if (text == "stop") {
    cancel_ = !idle;
    return Status();
  }
  limit_.Set(rate_bytes);
  progress_.rate_bytes = rate_bytes;
  // Who asks while one runs, or is about to, waits for that one; unless it is to end.
  if (idle || cancel_) ++progress_.asked;
  return Status();
}

ScrubProgress Scrubber::Progress() {
  MutexLock lock(mutex_);
  return progress_;
}

uint64_t Scrubber::AwaitNext() {
  MutexLock lock(mutex_);
  while (!stop_ && progress_.asked == progress_.finished) wake_.Wait(mutex_);
  if (stop_) return 0;
  progress_.running = true;
  progress_.bytes_done = progress_.bytes_total = 0;
  return progress_.asked;
}

void Scrubber::Work() {
  setpriority(PRIO_PROCESS, static_cast<id_t>(gettid()), kNice);  // this thread's; best effort
  while (const uint64_t run = AwaitNext()) {
    BackgroundThread reader;
    const ScrubReport report = RunOn(&reader);
    MutexLock lock(mutex_);
    progress_.running = false;
    progress_.finished = run;
    cancel_ = false;
    progress_.last = report;
  }
}

ScrubReport Scrubber::Run() {
  const ScrubReport report = RunOn(nullptr);
  MutexLock lock(mutex_);
  progress_.last = report;
  return report;
}

ScrubReport Scrubber::RunOn(BackgroundThread* reader) {
  constexpr int64_t kSecondNs = 1'000'000'000;
  ScrubReport report;
  const int64_t begin_ns = d_.clock.MonotonicNs();
  const Status status = RunAll(reader, &report);
  report.ended_s = static_cast<uint64_t>(d_.clock.Now().tv_sec);
  report.seconds = static_cast<uint64_t>((d_.clock.MonotonicNs() - begin_ns) / kSecondNs);
  if (!status.ok()) {
    report.error = status.ToString();
    if (status.code() != Code::kBusy) LogError("the scrub ended early: {}", report.error);
  }
  if (!report.clean())
    LogError("the scrub found {} damaged places and {} damaged chunks, which {} files need",
             report.damaged_places, report.damaged_chunks, report.damaged_files);
  Save(report);
  return report;
}

Status Scrubber::RunAll(BackgroundThread* reader, ScrubReport* report) {
  const auto before_read = [this, report](uint64_t bytes) {
    report->bytes += bytes;
    return BeforeRead(bytes);
  };
  // So that journals, too, are in packs that are closed. Where nothing can be written any
  // more, what is being written is left out.
  const Status sealed = d_.packs.Seal();
  if (!sealed.ok() && sealed.code() != Code::kNoSpace && sealed.code() != Code::kReadOnly)
    return sealed;
  std::vector<PackInfo> infos = d_.packs.Infos();
  std::erase_if(infos, [](const PackInfo& info) { return info.writing; });
  {
    MutexLock lock(mutex_);
    for (const PackInfo& info : infos) progress_.bytes_total += info.bytes;
  }
  ScrubPacks packs({d_.tree.catalog(), d_.packs,
                    [reader](const std::function<void()>& work) {
                      reader == nullptr ? work() : reader->Run(work);
                    },
                    before_read},
                   report);
  for (const PackInfo& info : infos) RETURN_IF_ERROR(packs.Scan(info));
  RETURN_IF_ERROR(packs.Settle());

  ScrubChunks chunks({d_.tree.catalog(), d_.packs, before_read}, packs, report);
  RETURN_IF_ERROR(chunks.Run());
  if (chunks.damaged().empty()) return Status();
  ChunkUsers users(d_.tree, [this] { return BeforeRead(0); });
  return users.Find(chunks.damaged(), [&](ChunkUsers::User user) {
    if (report->damaged_files < kFilesLoggedMax)
      LogError("scrub: {} lacks {} bytes, the first of them at byte {}", user.path, user.bytes,
               user.first_byte);
    report->AddFile(std::move(user.path));
  });
}

Status Scrubber::BeforeRead(uint64_t bytes) {
  int64_t left_ns = 0;
  uint64_t asks = 0;
  {
    MutexLock lock(mutex_);
    // Blocks that are read twice, and what was stored since, were not foreseen.
    progress_.bytes_done += bytes;
    progress_.bytes_total = std::max(progress_.bytes_total, progress_.bytes_done);
    left_ns = limit_.Take(bytes);
    asks = asks_;
  }
  if (left_ns > 0 && d_.wait) d_.wait(std::exchange(left_ns, 0));
  const auto end = std::chrono::steady_clock::now() + std::chrono::nanoseconds(left_ns);
  MutexLock lock(mutex_);
  while (!stop_ && !cancel_ && asks_ == asks) {
    const auto now = std::chrono::steady_clock::now();
    if (now >= end) return Status();
    wake_.WaitFor(mutex_, end - now);
  }
  return stop_ || cancel_ ? Stopped() : Status();
}

// A report that cannot be kept is still told until the umount.
void Scrubber::Save(const ScrubReport& report) {
  if (!report.error.empty() && report.clean()) return;
  Batch batch;
  batch.Put(key::Meta(kReportMeta), report.Encode());
  const Status saved = d_.tree.catalog().Apply(batch);
  if (!saved.ok()) LogWarning("the report of the scrub is not kept: {}", saved.ToString());
}

}  // namespace varve
