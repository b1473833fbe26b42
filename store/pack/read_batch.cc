#include "store/pack/read_batch.h"

#include <algorithm>
#include <cerrno>
#include <string>
#include <utility>

namespace varve {
namespace {

// More than this many arrived extents, and the reading thread decodes too.
constexpr size_t kBacklogMax = 1;

std::string Where(const ChunkLocation& location) {
  return PackFileName(location.pack) + " at " + std::to_string(location.offset_bytes);
}

}  // namespace

Status DecodeChunk(const ChunkRead& read, ByteView payload, const Fingerprinter& fingerprinter,
                   Decoder& decoder) {
  // Without its base it would be told from something else.
  if (HasBase(read.location.encoding)) {
    const Result<ChunkId> base = BaseOf(payload);
    if (!base.ok() || *base != read.location.base || read.base.empty())
      return Status(Code::kCorrupt, Where(read.location) + ": read without its base");
  }
  const Status status = decoder.Decode(read.location.encoding, payload, read.out, read.base);
  if (!status.ok()) {
    return Status(status.code(), Where(read.location) + ": " + std::string(status.context()));
  }
  if (fingerprinter.Name(read.out) != read.id) {
    return Status(Code::kCorrupt, Where(read.location) + ": chunk does not match its name");
  }
  return {};
}

ReadBatch::ReadBatch(std::vector<ReadExtent> extents, ReadLane& lane, DecodePool* pool,
                     const Fingerprinter& fingerprinter)
    : extents_(std::move(extents)),
      lane_(lane),
      pool_(pool),
      fingerprinter_(fingerprinter),
      reading_(lane.buffers.size()),
      extents_left_(extents_.size()) {
  for (size_t i = lane.buffers.size(); i > 0; --i) free_.push_back(i - 1);
}

void ReadBatch::Run() {
  while (true) {
    const bool started = StartReads();
    const bool reading = lane_.ring != nullptr && lane_.ring->in_flight() > 0;
    size_t backlog = 0;
    {
      MutexLock lock(mutex_);
      if (extents_left_ == 0) return;
      backlog = arrived_.size();
    }
    if (reading && backlog <= kBacklogMax) {
      AwaitRead();
    } else if (!DecodeOne(lane_.decoder) && !started && !reading) {
      MutexLock lock(mutex_);
      while (extents_left_ > 0 && arrived_.empty() && free_.empty()) decoded_.Wait(mutex_);
      // All is read and the pool decodes the last.
      while (extents_left_ > 0 && arrived_.empty() && next_extent_ == extents_.size()) {
        decoded_.Wait(mutex_);
      }
    }
  }
}

bool ReadBatch::StartReads() {
  bool started = false;
  while (next_extent_ < extents_.size()) {
    size_t buffer = 0;
    {
      MutexLock lock(mutex_);
      if (free_.empty()) break;
      buffer = free_.back();
      free_.pop_back();
    }
    StartRead(buffer, &extents_[next_extent_++]);
    started = true;
    // Without a ring the read is done: let the pool have it before the next.
    if (lane_.ring == nullptr) break;
  }
  if (lane_.ring == nullptr || lane_.ring->Submit().ok()) return started;
  // The ring is of no use any more. What the kernel has must come back first; the
  // rest is read here.
  while (lane_.ring->in_flight() > 0) AwaitRead();
  lane_.ring.reset();
  for (size_t buffer = 0; buffer < reading_.size(); ++buffer) {
    ReadExtent* extent = std::exchange(reading_[buffer], nullptr);
    if (extent == nullptr) continue;
    Arrived({buffer, extent, extent->file->ReadAt(extent->start, Memory(buffer, *extent))});
  }
  return true;
}

void ReadBatch::StartRead(size_t buffer, ReadExtent* extent) {
  const MutableBytes memory = Memory(buffer, *extent);
  const int descriptor = extent->file->descriptor();
  if (lane_.ring != nullptr && descriptor >= 0) {
    reading_[buffer] = extent;
    lane_.ring->PrepareRead({descriptor, extent->start, static_cast<int>(buffer), buffer}, memory);
  } else {
    Arrived({buffer, extent, extent->file->ReadAt(extent->start, memory)});
  }
}

void ReadBatch::AwaitRead() {
  const Result<Ring::Completion> completion = lane_.ring->Wait();
  // Without completions nobody knows which memory the kernel still writes.
  CHECK(completion.ok());
  const auto buffer = static_cast<size_t>(completion->tag);
  ReadExtent* extent = std::exchange(reading_[buffer], nullptr);
  const MutableBytes memory = Memory(buffer, *extent);
  const int result = completion->result;
  if (result == static_cast<int>(memory.size())) {
    Arrived({buffer, extent, memory.size()});
  } else {
    // The end of the file, an interruption or an error: the plain call tells which.
    Arrived({buffer, extent, extent->file->ReadAt(extent->start, memory)});
  }
}

void ReadBatch::Arrived(Slot slot) {
  {
    MutexLock lock(mutex_);
    arrived_.push_back(std::move(slot));
  }
  if (pool_ == nullptr) return;
  pool_->Run([self = shared_from_this()](Decoder& decoder) { self->DecodeOne(decoder); });
}

bool ReadBatch::DecodeOne(Decoder& decoder) {
  Slot slot;
  {
    MutexLock lock(mutex_);
    if (arrived_.empty()) return false;
    slot = std::move(arrived_.front());
    arrived_.pop_front();
  }
  Decode(slot, decoder);
  MutexLock lock(mutex_);
  free_.push_back(slot.buffer);
  --extents_left_;
  decoded_.NotifyAll();
  return true;
}

void ReadBatch::Decode(const Slot& slot, Decoder& decoder) {
  const size_t got = slot.got.ok() ? *slot.got : 0;
  const ByteView bytes = ByteView(Memory(slot.buffer, *slot.extent)).first(got);
  for (ChunkRead* read : slot.extent->chunks) {
    const ChunkLocation& location = read->location;
    const auto offset =
        static_cast<size_t>(location.offset_bytes + kHeaderBytes - slot.extent->start);
    if (!slot.got.ok()) {
      read->status = slot.got.status();
    } else if (offset + location.stored_bytes > got) {
      read->status = Status(Code::kCorrupt, Where(location) + ": behind the end of the pack");
    } else {
      read->status =
          DecodeChunk(*read, bytes.subspan(offset, location.stored_bytes), fingerprinter_, decoder);
    }
  }
}

MutableBytes ReadBatch::Memory(size_t buffer, const ReadExtent& extent) const {
  return lane_.buffers[buffer].bytes().first(static_cast<size_t>(extent.end - extent.start));
}

}  // namespace varve
