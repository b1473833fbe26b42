// The other half of PackWriter: writes on their way, flushes, seals, the fence.

#include <algorithm>
#include <utility>

#include "store/pack/pack_limits.h"
#include "store/pack/pack_writer.h"

namespace varve {

PackWriter::~PackWriter() {
  {
    MutexLock append(append_mutex_);
    if (current_ != nullptr) CloseCurrent();
  }
  // What cannot be flushed now was never promised.
  [[maybe_unused]] const Status status = Sync();
  MutexLock lock(mutex_);
  while (!in_flight_.empty()) AwaitWrite();
}

void PackWriter::Start(Pending pending) {
  uint64_t tag = 0;
  WriteQueue::Write write;
  {
    MutexLock lock(mutex_);
    tag = next_tag_++;
    pending.write.tag = tag;
    write = pending.write;
    in_flight_.emplace(tag, std::move(pending));
  }
  const std::optional<WriteQueue::Finished> finished = queue_.Start(std::move(write));
  MutexLock lock(mutex_);
  if (finished) {
    Finish(*finished);
  } else {
    ++in_ring_;
  }
  progress_.NotifyAll();
}

void PackWriter::Restart() {
  std::vector<Pending> refused;
  {
    MutexLock lock(mutex_);
    refused.swap(refused_);
  }
  for (Pending& pending : refused) Start(std::move(pending));
}

void PackWriter::Finish(const WriteQueue::Finished& finished) {
  const auto found = in_flight_.find(finished.tag);
  CHECK(found != in_flight_.end());
  Pending pending = std::move(found->second);
  in_flight_.erase(found);
  if (finished.status.ok()) {
    pending.pack->unfinished.erase(pending.write.offset);
    Retire(*pending.pack);
  } else if (finished.status.code() == Code::kNoSpace) {
    refused_.push_back(std::move(pending));
  } else if (fence_.ok()) {
    fence_ = finished.status;
  }
}

void PackWriter::AwaitWrite() {
  // Another thread performs the write, or waits for the ring already.
  if (awaiting_ || in_ring_ <= 0) {
    progress_.Wait(mutex_);
    return;
  }
  awaiting_ = true;
  mutex_.Unlock();
  const WriteQueue::Finished finished = queue_.Await();
  mutex_.Lock();
  awaiting_ = false;
  --in_ring_;
  Finish(finished);
  progress_.NotifyAll();
}

uint64_t PackWriter::WrittenBytes(const Pack& pack) {
  if (pack.buffers.empty()) return UINT64_MAX;
  const Buffer& last = *pack.buffers.back();
  const uint64_t started = last.base + last.started;
  return pack.unfinished.empty() ? started : std::min(started, *pack.unfinished.begin());
}

void PackWriter::Retire(Pack& pack) {
  const uint64_t written = WrittenBytes(pack);
  while (!pack.buffers.empty()) {
    Buffer& oldest = *pack.buffers.front();
    if (pack.buffers.size() == 1 && !pack.full && !oldest.large) return;
    if (oldest.base + oldest.fill > written) return;
    if (oldest.large) {
      --large_buffers_;
    } else {
      oldest.fill = 0;
      oldest.started = 0;
      free_.push_back(std::move(pack.buffers.front()));
    }
    pack.buffers.pop_front();
  }
}

Status PackWriter::Sync() {
  MutexLock lock(mutex_);
  return FlushUntil(appended_, /*sealed_pack=*/0);
}

Status PackWriter::SealPacks() {
  uint32_t last = 0;
  {
    MutexLock append(append_mutex_);
    LeaveReserve();
    if (current_ != nullptr && current_->records > 0 && !current_->reserved) CloseCurrent();
    // One without a record stays current: there is nothing to seal. So does the reserve.
    last = current_ != nullptr ? current_->number - 1 : next_pack_ - 1;
  }
  MutexLock lock(mutex_);
  return FlushUntil(appended_, last);
}

Status PackWriter::FlushUntil(uint64_t records, uint32_t sealed_pack) {
  while (durable_ < records || (!open_.empty() && open_.begin()->first <= sealed_pack)) {
    if (!fence_.ok()) return FencedLocked();
    if (flushing_) {
      progress_.Wait(mutex_);
      continue;
    }
    flushing_ = true;
    mutex_.Unlock();
    const Status status = Flush();
    mutex_.Lock();
    flushing_ = false;
    progress_.NotifyAll();
    RETURN_IF_ERROR(status);
  }
  return fence_.ok() ? Status() : FencedLocked();
}

Status PackWriter::Flush() {
  struct Part {
    std::shared_ptr<Pack> pack;
    uint64_t end = 0;
    bool full = false;
  };
  std::vector<Part> parts;
  uint64_t records = 0;
  {
    MutexLock append(append_mutex_);
    if (current_ != nullptr) StartAll(current_);
    MutexLock lock(mutex_);
    records = appended_;
    for (const auto& [number, pack] : open_) parts.push_back({pack, pack->end, pack->full});
  }
  Restart();
  for (const Part& part : parts) {
    RETURN_IF_ERROR(AwaitWritten(*part.pack, part.end));
    RETURN_IF_ERROR(MakeDurable(*part.pack, part.end));
  }
  for (const Part& part : parts) {
    if (part.full) Seal(*part.pack);
  }
  MutexLock lock(mutex_);
  durable_ = records;
  return {};
}

Status PackWriter::AwaitWritten(const Pack& pack, uint64_t end) {
  MutexLock lock(mutex_);
  while (WrittenBytes(pack) < end) {
    if (!fence_.ok()) return FencedLocked();
    for (const Pending& pending : refused_) {
      if (pending.pack.get() == &pack) return Status(Code::kNoSpace, "no space for a pack");
    }
    AwaitWrite();
  }
  return {};
}

Status PackWriter::MakeDurable(Pack& pack, uint64_t end) {
  if (pack.durable < end) {
    const Status status = pack.file->SyncData();
    if (!status.ok()) return Fence(status);
  }
  if (!pack.named) {
    RETURN_IF_ERROR(SyncNames());
    pack.named = true;
  }
  pack.durable = end;
  return {};
}

// Failures are not told: the pack is durable, it only will be scanned in full.
void PackWriter::Seal(Pack& pack) {
  const RecordHeader header = {RecordType::kTable,
                               Encoding::kRaw,
                               static_cast<uint32_t>(pack.table.size()),
                               static_cast<uint32_t>(pack.table.size()),
                               {},
                               fingerprinter_.Hash64(AsBytes(pack.table)),
                               pack.number,
                               static_cast<uint32_t>(pack.end),
                               static_cast<uint32_t>(pack.end)};
  const std::string trailer =
      EncodeTrailer({pack.number, static_cast<uint32_t>(pack.end), pack.records}, fingerprinter_);
  const auto size =
      static_cast<size_t>(AlignUp(kHeaderBytes + pack.table.size() + trailer.size(), kBlockBytes));
  const AlignedBuffer footer(size);
  const std::string encoded = EncodeRecordHeader(header, fingerprinter_);
  uint8_t* to = std::copy(encoded.begin(), encoded.end(), footer.data());
  to = std::copy(pack.table.begin(), pack.table.end(), to);
  std::fill(to, footer.data() + size, uint8_t{0});
  std::copy(trailer.begin(), trailer.end(), footer.data() + size - trailer.size());

  const bool sealed = pack.file->WriteAt(pack.end, footer.bytes()).ok();
  // Gives back what was allocated ahead.
  [[maybe_unused]] const Status trimmed = pack.file->Truncate(pack.end + (sealed ? size : 0));
  MutexLock lock(mutex_);
  if (sealed) made_[pack.number] += size;
  open_.erase(pack.number);
}

Status PackWriter::Fence(const Status& why) {
  MutexLock lock(mutex_);
  if (fence_.ok()) fence_ = why;
  progress_.NotifyAll();
  return FencedLocked();
}

Status PackWriter::Fenced() {
  MutexLock lock(mutex_);
  return fence_.ok() ? Status() : FencedLocked();
}

Status PackWriter::FencedLocked() {
  const std::string why = "packs take no more writes: " + fence_.ToString();
  return Status(std::exchange(fence_told_, true) ? Code::kReadOnly : Code::kIo, why);
}

}  // namespace varve
