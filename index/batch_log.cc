#include "index/batch_log.h"

#include <algorithm>
#include <cstring>
#include <utility>
#include <vector>

namespace varve {
namespace {

// A new segment's size, and the bounds of a growth step.
constexpr uint64_t kStepBytesMin = 256u << 10;
constexpr uint64_t kStepBytesMax = 1u << 20;

uint64_t RoundUp(uint64_t value) {
  return (value + kLogBlockBytes - 1) / kLogBlockBytes * kLogBlockBytes;
}

std::string ParentOf(const std::string& path) {
  const size_t slash = path.rfind('/');
  return slash == std::string::npos ? std::string(".") : path.substr(0, slash);
}

// Reads the headers of both segments; returns the generation of each, 0 where there is none.
Result<std::array<uint64_t, kLogSegments>> ReadGenerations(const LogSegmentFiles& files) {
  std::array<uint64_t, kLogSegments> generations{};
  Status damage;
  for (uint32_t i = 0; i < kLogSegments; ++i) {
    if (files[i] == nullptr) continue;
    std::vector<uint8_t> block(kLogBlockBytes);
    ASSIGN_OR_RETURN(const size_t got, files[i]->ReadAt(0, block));
    const Result<std::optional<uint64_t>> header = DecodeLogHeader(ByteView(block).first(got));
    if (header.ok()) {
      generations[i] = header->value_or(0);
    } else if (header.status().code() == Code::kCorrupt) {
      damage = header.status();
    } else {
      return header.status();
    }
  }
  // Openings write the two in turn. One torn header was never relied upon: the other one still
  // names the generation before it.
  if (!damage.ok() && *std::max_element(generations.begin(), generations.end()) == 0) return damage;
  return generations;
}

}  // namespace

Result<std::unique_ptr<BatchLog>> BatchLog::Open(Disk& disk, const std::string& path,
                                                 const BatchLogOptions& options,
                                                 const LogMark& mark, const ReplayFn& replay) {
  BatchLogOptions rounded = options;
  rounded.segment_bytes_max = options.segment_bytes_max / kLogBlockBytes * kLogBlockBytes;
  if (rounded.segment_bytes_max < 2 * kLogBlockBytes)
    return Status(Code::kInvalid, "log segments of less than 8 KiB");
  std::unique_ptr<BatchLog> log(new BatchLog(rounded));
  RETURN_IF_ERROR(log->OpenSegments(disk, path));

  LogSegmentFiles files;
  for (uint32_t i = 0; i < kLogSegments; ++i) files[i] = log->segments_[i].file.get();
  ASSIGN_OR_RETURN(const auto generations, ReadGenerations(files));
  ASSIGN_OR_RETURN(const Replayed replayed, ReplayLog(files, mark, replay));

  for (const Replayed::Range& range : replayed.ranges) {
    log->segments_[range.segment].end = range.end;
    log->segments_[range.segment].last_sequence = range.last_sequence;
  }
  log->active_ = replayed.end.segment;
  Segment& active = log->segments_[log->active_];
  // A mark behind the end of the file is of a log that was replaced: begin at its start.
  if (replayed.ranges.empty() && replayed.end.offset_bytes <= active.size_bytes)
    active.end = replayed.end.offset_bytes;
  log->released_ = mark.sequence;
  log->appended_ = replayed.sequence;
  log->generation_ =
      std::max({generations[0], generations[1], mark.generation, replayed.generation});
  if (options.read_only) return log;

  const uint32_t older = generations[0] <= generations[1] ? 0 : 1;
  RETURN_IF_ERROR(log->BeginGeneration(replayed, older));
  RETURN_IF_ERROR(disk.SyncDirectory(path));
  RETURN_IF_ERROR(disk.SyncDirectory(ParentOf(path)));
  return log;
}

Status BatchLog::OpenSegments(Disk& disk, const std::string& path) {
  if (!options_.read_only) RETURN_IF_ERROR(disk.MakeDirectory(path));
  for (uint32_t i = 0; i < kLogSegments; ++i) {
    Segment& segment = segments_[i];
    Result<std::unique_ptr<File>> file = disk.Open(
        path + "/" + std::to_string(i), options_.read_only ? OpenMode::kRead : OpenMode::kCreate);
    if (options_.read_only && file.status().code() == Code::kNotFound) continue;
    if (!file.ok()) return file.status();
    segment.file = std::move(file).value();
    ASSIGN_OR_RETURN(const struct stat attributes, segment.file->Stat());
    segment.size_bytes = static_cast<uint64_t>(attributes.st_size);
    if (!options_.read_only && segment.size_bytes < 2 * kLogBlockBytes)
      RETURN_IF_ERROR(Grow(segment, std::min(kStepBytesMin, options_.segment_bytes_max)));
  }
  return {};
}

Status BatchLog::BeginGeneration(const Replayed& replayed, uint32_t header_segment) {
  // A flush that failed in an earlier process may have left pages that are clean in the cache and
  // not on the disk. Writing them again makes the flush below mean what it says.
  for (const Replayed::Range& range : replayed.ranges) RETURN_IF_ERROR(Rewrite(range));
  // The next record's two possible places may hold the torn remains of a lost one. Sectors of what
  // is written over it could complete it after the next power cut, so its header goes now.
  RETURN_IF_ERROR(EraseRecordHeader(segments_[active_], segments_[active_].end));
  if (IsFree(segments_[1 - active_]))
    RETURN_IF_ERROR(EraseRecordHeader(segments_[1 - active_], kLogBlockBytes));
  ++generation_;
  RETURN_IF_ERROR(
      segments_[header_segment].file->WriteAt(0, AsBytes(EncodeLogHeader(generation_))));
  for (const Segment& segment : segments_) RETURN_IF_ERROR(segment.file->SyncData());
  MutexLock lock(sync_mutex_);
  synced_ = replayed.sequence;
  return {};
}

Status BatchLog::Rewrite(const Replayed::Range& range) {
  File& file = *segments_[range.segment].file;
  std::vector<uint8_t> buffer(std::min<uint64_t>(range.end - range.begin, 1u << 20));
  for (uint64_t offset = range.begin; offset < range.end;) {
    const size_t size = std::min<uint64_t>(buffer.size(), range.end - offset);
    const MutableBytes bytes = MutableBytes(buffer).first(size);
    ASSIGN_OR_RETURN(const size_t got, file.ReadAt(offset, bytes));
    if (got < size) return Status(Code::kIo, "the log shrank while it was opened");
    RETURN_IF_ERROR(file.WriteAt(offset, bytes));
    offset += size;
  }
  return {};
}

Status BatchLog::EraseRecordHeader(Segment& segment, uint64_t offset) {
  if (offset + kRecordHeaderBytes > segment.size_bytes) return {};
  return segment.file->WriteAt(offset, AsBytes(std::string(kRecordHeaderBytes, '\0')));
}

Status BatchLog::Grow(Segment& segment, uint64_t size_bytes) {
  const uint64_t begin = segment.size_bytes;
  // Where the disk can reserve, a full one says so before anything is written.
  const Status reserved = segment.file->Allocate(0, begin, size_bytes - begin);
  if (!reserved.ok() && reserved.code() != Code::kUnsupported) return reserved;
  const std::vector<uint8_t> zeros(std::min<uint64_t>(size_bytes - begin, 1u << 20));
  for (uint64_t offset = begin; offset < size_bytes; offset += zeros.size()) {
    const size_t size = std::min<uint64_t>(zeros.size(), size_bytes - offset);
    RETURN_IF_ERROR(segment.file->WriteAt(offset, ByteView(zeros).first(size)));
  }
  segment.size_bytes = size_bytes;
  return {};
}

bool BatchLog::IsFree(const Segment& segment) const {
  return segment.last_sequence <= released_.load(std::memory_order_acquire);
}

void BatchLog::UseOther() {
  active_ = 1 - active_;
  segments_[active_].end = kLogBlockBytes;
  segments_[active_].last_sequence = 0;
}

Result<bool> BatchLog::MakeRoom(uint64_t record_bytes) {
  if (kLogBlockBytes + record_bytes > options_.segment_bytes_max)
    return Status(Code::kInvalid, "batch larger than the log");
  const bool other_is_free = IsFree(segments_[1 - active_]);
  if (segments_[active_].end + record_bytes > options_.segment_bytes_max) {
    if (!other_is_free) return false;
    UseOther();
  }
  Segment& segment = segments_[active_];
  const uint64_t needed = RoundUp(segment.end + record_bytes);
  if (needed <= segment.size_bytes) return true;

  const uint64_t step = std::clamp(segment.size_bytes, kStepBytesMin, kStepBytesMax);
  const uint64_t comfortable = std::min(segment.size_bytes + step, options_.segment_bytes_max);
  Status grown = Grow(segment, std::max(needed, comfortable));
  if (grown.code() == Code::kNoSpace && needed < comfortable) grown = Grow(segment, needed);
  if (grown.ok()) return true;
  // On a full disk what the other segment occupies already will do.
  const uint32_t other = 1 - active_;
  if (grown.code() == Code::kNoSpace && IsFree(segments_[other]) &&
      kLogBlockBytes + record_bytes <= segments_[other].size_bytes) {
    UseOther();
    return true;
  }
  return grown;
}

Result<std::optional<uint64_t>> BatchLog::Append(const Batch& batch) {
  constexpr size_t kKeptBytesMax = 1u << 20;
  if (record_.capacity() > kKeptBytesMax) record_ = std::string();
  record_.assign(kRecordHeaderBytes, '\0');
  EncodeBatch(batch, &record_);
  const uint64_t record_bytes = record_.size();
  ASSIGN_OR_RETURN(const bool room, MakeRoom(record_bytes));
  if (!room) return std::optional<uint64_t>();

  Segment& segment = segments_[active_];
  const uint64_t sequence = appended_.load(std::memory_order_relaxed) + 1;
  SealRecord(sequence, generation_, &record_);
  RETURN_IF_ERROR(Write(segment));
  segment.end += record_bytes;
  segment.last_sequence = sequence;
  segment.unflushed.store(true, std::memory_order_release);
  appended_.store(sequence, std::memory_order_release);
  return std::optional<uint64_t>(sequence);
}

Status BatchLog::Write(Segment& segment) {
  const uint64_t end = segment.end + record_.size();
  // Pages are written whole when they are entered: the kernel would otherwise read a page that it
  // has dropped before it could change a part of it.
  if (RoundUp(segment.end) < end) record_.resize(RoundUp(end) - segment.end, '\0');
  const Status written = segment.file->WriteAt(segment.end, AsBytes(record_));
  if (written.code() != Code::kNoSpace) return written;
  // The caller is told that nothing happened, so recovery must not find the record.
  return EraseRecordHeader(segment, segment.end).ok()
             ? written
             : Status(Code::kIo, "log: a failed append cannot be taken back");
}

LogMark BatchLog::Freeze() {
  if (segments_[active_].last_sequence > released_.load(std::memory_order_acquire) &&
      IsFree(segments_[1 - active_]))
    UseOther();
  LogMark mark;
  mark.sequence = appended_.load(std::memory_order_relaxed);
  mark.generation = generation_;
  mark.next = {active_, segments_[active_].end};
  return mark;
}

void BatchLog::Release(uint64_t sequence) {
  if (sequence > released_.load(std::memory_order_relaxed))
    released_.store(sequence, std::memory_order_release);
  MutexLock lock(sync_mutex_);
  synced_ = std::max(synced_, sequence);
}

uint64_t BatchLog::synced_sequence() {
  MutexLock lock(sync_mutex_);
  return synced_;
}

Status BatchLog::Sync(uint64_t sequence) {
  {
    MutexLock lock(sync_mutex_);
    while (syncing_ && synced_ < sequence && failure_.ok()) sync_done_.Wait(sync_mutex_);
    if (synced_ >= sequence) return {};
    if (!failure_.ok()) return failure_;
    syncing_ = true;  // this caller flushes, for all that was appended by now
  }
  const uint64_t covered = appended_sequence();
  const Status flushed = Flush();
  MutexLock lock(sync_mutex_);
  syncing_ = false;
  if (flushed.ok()) {
    synced_ = std::max(synced_, covered);
  } else {
    failure_ = flushed;
  }
  sync_done_.NotifyAll();
  return flushed;
}

Status BatchLog::Flush() {
  for (Segment& segment : segments_) {
    if (segment.unflushed.exchange(false, std::memory_order_acq_rel))
      RETURN_IF_ERROR(segment.file->SyncData());
  }
  return {};
}

}  // namespace varve
