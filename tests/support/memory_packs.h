// A PackStore in memory, which fails, damages and lies as a test tells it to.
//
// Threads: as PackStore.
// Errors:  kCorrupt for damaged chunks; what FailAppends() and FailReads() say.
#pragma once

#include <atomic>
#include <map>

#include "store/base/mutex.h"
#include "store/chunk/fingerprint.h"
#include "store/pack/pack_store.h"

namespace varve::testing {

class MemoryPacks final : public PackStore {
 public:
  explicit MemoryPacks(const Fingerprinter& fingerprinter) : fingerprinter_(fingerprinter) {}

  Result<ChunkLocation> Append(const ChunkId& id, const EncodedChunk& chunk, RoomFor room) override;
  Status AppendJournal(uint64_t sequence, ByteView record, RoomFor room) override;
  Status AppendBaseJournal(const JournalLabel&, ByteView) override { return {}; }
  Status Sync() override;
  Status Seal() override { return {}; }
  void KeepReserve(uint64_t) override {}
  bool DropReserve() override { return false; }
  uint64_t reserve_bytes(RoomFor) override { return 0; }
  Status Move(std::span<ChunkMove>) override { return Status(Code::kBusy, "in memory"); }
  Status Remove(uint32_t) override { return Status(Code::kBusy, "in memory"); }
  Status Read(std::span<ChunkRead> reads, ReadFrom from) override;
  Status Scan(uint32_t pack, bool verify_payload, const ScanSink& sink) override;
  std::vector<uint32_t> Packs() const override { return {1}; }
  std::vector<PackInfo> Infos() const override { return {{1, 0, true}}; }
  PackUsage Usage() const override { return {}; }
  std::string uring_reason() const override { return "in memory"; }

  // The chunk there fails with kCorrupt from now on.
  void Damage(const ChunkLocation& location);
  void Repair(const ChunkLocation& location);
  // Appends after the next `count` fail with `status`.
  void FailAppends(int64_t count, Status status);
  // Off: reads return what is there, whatever its name says.
  void SetVerify(bool verify) { verify_ = verify; }
  // Makes each Append() take so long.
  void SetAppendDelay(int64_t microseconds) { append_delay_us_ = microseconds; }
  // Makes each Read() take so long.
  void SetReadDelay(int64_t microseconds) { read_delay_us_ = microseconds; }

  uint64_t appends() const { return appends_; }
  uint64_t appended_bytes() const { return appended_bytes_; }
  uint64_t read_calls() const { return read_calls_; }
  uint64_t chunks_read() const { return chunks_read_; }
  uint64_t syncs() const { return syncs_; }

 private:
  struct Record {
    Encoding encoding = Encoding::kRaw;
    std::string payload;
    bool damaged = false;
  };
  Status ReadOne(ChunkRead& read) REQUIRES(mutex_);

  const Fingerprinter& fingerprinter_;
  std::atomic<bool> verify_{true};
  std::atomic<int64_t> read_delay_us_{0};
  std::atomic<int64_t> append_delay_us_{0};
  std::atomic<uint64_t> appends_{0}, appended_bytes_{0}, read_calls_{0}, chunks_read_{0};
  std::atomic<uint64_t> syncs_{0};

  mutable Mutex mutex_;
  std::map<uint32_t, Record> records_ GUARDED_BY(mutex_);
  int64_t appends_left_ GUARDED_BY(mutex_) = INT64_MAX;
  Status append_status_ GUARDED_BY(mutex_);
};

}  // namespace varve::testing
