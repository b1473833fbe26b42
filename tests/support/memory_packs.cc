#include "tests/support/memory_packs.h"

#include <chrono>
#include <thread>

namespace varve::testing {
namespace {

void Delay(int64_t microseconds) {
  if (microseconds > 0) std::this_thread::sleep_for(std::chrono::microseconds(microseconds));
}

}  // namespace

Result<ChunkLocation> MemoryPacks::Append(const ChunkId&, const EncodedChunk& chunk, RoomFor) {
  Delay(append_delay_us_);
  MutexLock lock(mutex_);
  if (appends_left_-- <= 0) return append_status_;
  ++appends_;
  appended_bytes_ += chunk.payload.size();
  const auto offset = static_cast<uint32_t>(records_.size() + 1);
  ChunkId base;
  if (HasBase(chunk.encoding)) {
    ASSIGN_OR_RETURN(base, BaseOf(chunk.payload));
  }
  records_[offset] = {chunk.encoding, std::string(AsText(chunk.payload)), false};
  return ChunkLocation{
      1,   offset, static_cast<uint32_t>(chunk.payload.size()), chunk.raw_bytes, chunk.encoding,
      base};
}

Status MemoryPacks::AppendJournal(uint64_t, ByteView, RoomFor) { return {}; }

Status MemoryPacks::Sync() {
  ++syncs_;
  return {};
}

Status MemoryPacks::Read(std::span<ChunkRead> reads, ReadFrom) {
  ++read_calls_;
  chunks_read_ += reads.size();
  Delay(read_delay_us_);
  Status first;
  MutexLock lock(mutex_);
  for (ChunkRead& read : reads) {
    read.status = ReadOne(read);
    if (first.ok()) first = read.status;
  }
  return first;
}

Status MemoryPacks::ReadOne(ChunkRead& read) {
  const auto found = records_.find(read.location.offset_bytes);
  if (found == records_.end()) return Status(Code::kCorrupt, "no such chunk");
  if (found->second.damaged) return Status(Code::kCorrupt, "damaged by the test");
  Decoder decoder;
  RETURN_IF_ERROR(
      decoder.Decode(found->second.encoding, AsBytes(found->second.payload), read.out, read.base));
  if (verify_ && fingerprinter_.Name(read.out) != read.id)
    return Status(Code::kCorrupt, "another chunk");
  return {};
}

Status MemoryPacks::Scan(uint32_t, bool, const ScanSink&) {
  return Status(Code::kUnsupported, "in memory");
}

void MemoryPacks::Damage(const ChunkLocation& location) {
  MutexLock lock(mutex_);
  records_.at(location.offset_bytes).damaged = true;
}

void MemoryPacks::Repair(const ChunkLocation& location) {
  MutexLock lock(mutex_);
  records_.at(location.offset_bytes).damaged = false;
}

void MemoryPacks::FailAppends(int64_t count, Status status) {
  MutexLock lock(mutex_);
  appends_left_ = count;
  append_status_ = std::move(status);
}

}  // namespace varve::testing
