// A whole store without FUSE and without threads, on a simulated machine.
//
// The real parts (StoreParts) over a SimDisk, an index in memory, a clock that only
// moves when it is told to, and a kernel that grants no passthrough. The index obeys
// the disk's crash: a write to it is one more thing at which the machine can die.
//
// Threads: belongs to one thread.
#pragma once

#include <functional>
#include <memory>
#include <optional>

#include "fs/core/store_parts.h"
#include "tests/support/memory_key_value_store.h"
#include "tests/support/random.h"
#include "tests/support/sim_disk.h"

namespace varve::testing {

class SimClock final : public Clock {
 public:
  struct timespec Now() override;
  int64_t MonotonicNs() override { return now_ns_; }
  void Advance(int64_t ns) { now_ns_ += ns; }

 private:
  int64_t now_ns_ = 1'000'000'000;
};

class PlainKernel final : public KernelChannel {
 public:
  int32_t RegisterBacking(int) override { return 0; }
  void UnregisterBacking(int32_t) override {}
  void InvalidateNode(NodeId) override {}
  void InvalidateName(NodeId, std::string) override {}
};

class SimStore {
 public:
  struct Options {
    uint64_t hot_bytes_max = 1 << 20;
    uint32_t pack_bytes = 1 << 20;
    uint64_t log_bytes = 1 << 20;
    uint64_t disk_bytes = 64 << 20;
    bool history_yields = true;
  };
  explicit SimStore(const Options& options);

  // Builds the parts and recovers. The report is valid after success.
  Status Open();
  bool is_open() const { return parts_ != nullptr; }
  const RecoveryReport& report() const { return report_; }
  // The process ends without a word; what it had open was closed by nobody.
  void ProcessDeath();
  void PowerCut(uint64_t seed);

  // The machine dies in write number `n` to the index, counted from 0 and from the
  // first Open(); `written` says whether that one is safe. The disk may take one
  // change more.
  void CrashAtIndexWrite(uint64_t n, bool written);
  // Write number `n` fails and changes nothing.
  void FailIndexWrite(uint64_t n, const Status& status);
  uint64_t index_writes() const { return index_writes_; }
  bool crashed() const { return disk_.crashed() || index_crashed_; }

  // What fsck finds wrong in the open store, "" if nothing is. `verify`: reads every
  // chunk too.
  std::string Fsck(bool verify);

  // Called where a scrub would wait for its rate, after the clock has moved on.
  void DuringScrubWait(std::function<void()> what) { during_scrub_wait_ = std::move(what); }

  StoreParts& parts() const { return *parts_; }
  SimDisk& disk() { return disk_; }
  SimClock& clock() { return clock_; }
  MemoryKeyValueStore& index() { return index_; }
  const Fingerprinter& fingerprinter() const { return fingerprinter_; }

 private:
  MemoryKeyValueStore::Verdict JudgeWrite();
  void ForgetFaults();

  const Options options_;
  // Always the same. One with a pattern makes hashes of names collide.
  const Fingerprinter fingerprinter_{Random(1).Bytes(Fingerprinter::kSecretBytes)};
  SimDisk disk_;
  MemoryKeyValueStore index_;
  SimClock clock_;
  PlainKernel kernel_;
  std::function<void()> during_scrub_wait_;
  std::unique_ptr<StoreParts> parts_;
  RecoveryReport report_;

  uint64_t index_writes_ = 0;
  std::optional<uint64_t> crash_at_write_;
  bool last_write_happens_ = false;
  bool index_crashed_ = false;
  std::optional<uint64_t> fail_at_write_;
  Status write_failure_;
};

}  // namespace varve::testing
