#include "tests/support/sim_store.h"

#include "fs/core/fsck_context.h"

namespace varve::testing {

struct timespec SimClock::Now() {
  constexpr int64_t kSecond = 1'000'000'000;
  constexpr int64_t kStart = 1'700'000'000;
  return {kStart + now_ns_ / kSecond, now_ns_ % kSecond};
}

SimStore::SimStore(const Options& options) : options_(options) {
  disk_.SetCapacity(options.disk_bytes);
  index_.SetWriteHook([this] { return JudgeWrite(); });
}

Status SimStore::Open() {
  StoreParts::Options options;
  options.packs.io_uring = false;
  options.packs.pack_bytes_target = options_.pack_bytes;
  options.packs.decode_threads = 1;
  options.catalog.log_bytes_max = options_.log_bytes;
  options.contents.threads = 0;
  options.contents.cache_bytes_max = 4 << 20;
  options.passthrough = false;
  options.hot_bytes_max = options_.hot_bytes_max;
  options.history_yields = options_.history_yields;
  Result<std::unique_ptr<StoreParts>> parts = StoreParts::Build(
      {disk_, index_, fingerprinter_, clock_, kernel_, [] { return std::string("{}"); },
       [this](int64_t ns) {
         clock_.Advance(ns);
         if (during_scrub_wait_) during_scrub_wait_();
       }},
      options);
  RETURN_IF_ERROR(parts.status());
  ASSIGN_OR_RETURN(report_, (*parts)->RecoverTree());
  parts_ = std::move(parts).value();
  return Status();
}

void SimStore::ProcessDeath() {
  parts_.reset();
  disk_.ProcessDeath();
  ForgetFaults();
}

void SimStore::PowerCut(uint64_t seed) {
  parts_.reset();
  disk_.PowerCut(seed);
  ForgetFaults();
}

void SimStore::ForgetFaults() {
  crash_at_write_.reset();
  fail_at_write_.reset();
  index_crashed_ = false;
}

std::string SimStore::Fsck(bool verify) {
  FsckReport report;
  FsckOptions options;
  options.verify_data = verify;
  FsckContext context(
      {disk_, fingerprinter_, parts_->packs(), parts_->catalog(), parts_->tree(), parts_->stages()},
      options, &report);
  const Status checked = RunChecks(context);
  if (!checked.ok()) return "fsck: " + checked.ToString();
  if (report.clean()) return "";
  return "fsck: " + report.findings.front().what + " (" + std::to_string(report.damages) +
         " damages)";
}

void SimStore::CrashAtIndexWrite(uint64_t n, bool written) {
  crash_at_write_ = n;
  last_write_happens_ = written;
}

void SimStore::FailIndexWrite(uint64_t n, const Status& status) {
  fail_at_write_ = n;
  write_failure_ = status;
}

MemoryKeyValueStore::Verdict SimStore::JudgeWrite() {
  const uint64_t write = index_writes_++;
  if (crashed()) return {Status(Code::kIo), false};
  if (write == crash_at_write_) {
    index_crashed_ = true;
    disk_.CrashAt(disk_.change_count());
    return {Status(Code::kIo), last_write_happens_};
  }
  if (write == fail_at_write_) return {write_failure_, false};
  return {};
}

}  // namespace varve::testing
