#include "store/pack/pack_writer.h"

#include <fcntl.h>

#include <algorithm>
#include <utility>

#include "store/pack/pack_limits.h"

namespace varve {

PackWriter::PackWriter(Disk& disk, const std::string& path, const Fingerprinter& fingerprinter,
                       const Options& options, std::unique_ptr<Ring> ring)
    : disk_(disk),
      path_(path),
      fingerprinter_(fingerprinter),
      queue_(std::move(ring)),
      pack_bytes_target_(options.pack_bytes_target),
      next_pack_(options.first_pack),
      reserve_(disk, path) {
  CHECK(pack_bytes_target_ <= kPackBytesTargetMax);
}

Result<ChunkLocation> PackWriter::Append(RecordType type, const RecordName& name,
                                         const EncodedChunk& chunk, RoomFor room) {
  const auto stored_bytes = static_cast<uint32_t>(chunk.payload.size());
  ChunkId base;
  if (type == RecordType::kChunk && HasBase(chunk.encoding)) {
    ASSIGN_OR_RETURN(base, BaseOf(chunk.payload));
  }
  const uint64_t payload_hash = fingerprinter_.Hash64(chunk.payload);
  const uint64_t record_bytes =
      AlignUp(uint64_t{kHeaderBytes} + chunk.payload.size(), kRecordAlignment);

  RETURN_IF_ERROR(BoundOpenPacks());
  MutexLock append(append_mutex_);
  RETURN_IF_ERROR(MakeRoom(record_bytes, room));
  const std::shared_ptr<Pack> pack = current_;
  const auto offset = static_cast<uint32_t>(pack->end);
  const RecordHeader header = {type,
                               chunk.encoding,
                               stored_bytes,
                               chunk.raw_bytes,
                               name,
                               payload_hash,
                               pack->number,
                               offset,
                               static_cast<uint32_t>(pack->durable)};
  AppendToBuffer(pack, AsBytes(EncodeRecordHeader(header, fingerprinter_)), chunk.payload);
  EncodeTableEntry({type, chunk.encoding, offset, stored_bytes, chunk.raw_bytes, name, base},
                   &pack->table);
  ++pack->records;
  {
    MutexLock lock(mutex_);
    ++appended_;
  }
  StartBlocks(pack, kWriteBytes);
  RETURN_IF_ERROR(Fenced());
  return ChunkLocation{pack->number, offset, stored_bytes, chunk.raw_bytes, chunk.encoding, base};
}

void PackWriter::AppendToBuffer(const std::shared_ptr<Pack>& pack, ByteView header,
                                ByteView payload) {
  const size_t size =
      static_cast<size_t>(AlignUp(header.size() + payload.size(), kRecordAlignment));
  Buffer* buffer = nullptr;
  size_t fill = 0;
  {
    MutexLock lock(mutex_);
    buffer = pack->buffers.back().get();
    fill = buffer->fill;
  }
  // Beyond `fill` the memory is ours; the copy needs no lock that readers take.
  uint8_t* to = std::copy(header.begin(), header.end(), buffer->memory.data() + fill);
  to = std::copy(payload.begin(), payload.end(), to);
  std::fill(to, buffer->memory.data() + fill + size, uint8_t{0});
  pack->end += size;
  bool large = false;
  {
    MutexLock lock(mutex_);
    buffer->fill += size;
    made_[pack->number] += size;
    large = buffer->large;
  }
  if (large) StartAll(pack);
}

Status PackWriter::BoundOpenPacks() {
  {
    MutexLock lock(mutex_);
    if (open_.size() <= kFullPacksMax) return {};
  }
  return Sync();
}

Status PackWriter::MakeRoom(uint64_t record_bytes, RoomFor room) {
  RETURN_IF_ERROR(Fenced());
  LeaveReserve();
  Status taken(Code::kNoSpace);
  if (current_ == nullptr || !current_->reserved) taken = TakeFreeRoom(record_bytes);
  if (taken.code() == Code::kNoSpace) taken = TakeReserve(record_bytes, room);
  RETURN_IF_ERROR(taken);
  bool fits = false;
  {
    MutexLock lock(mutex_);
    if (!current_->buffers.empty()) {
      const Buffer& buffer = *current_->buffers.back();
      fits = !buffer.large && buffer.fill + record_bytes <= buffer.memory.size();
    }
  }
  if (!fits) RETURN_IF_ERROR(NextBuffer(static_cast<size_t>(record_bytes)));
  return {};
}

Status PackWriter::TakeFreeRoom(uint64_t record_bytes) {
  if (current_ != nullptr && current_->records > 0 &&
      current_->end + record_bytes > pack_bytes_target_) {
    CloseCurrent();
  }
  if (current_ == nullptr) RETURN_IF_ERROR(OpenPack());
  return Allocate(EndWith(record_bytes));
}

uint64_t PackWriter::EndWith(uint64_t record_bytes) {
  const uint64_t start = std::max<uint64_t>(current_->end, kHeaderBytes);  // of a new pack as well
  return AlignUp(start + record_bytes, kBlockBytes);
}

void PackWriter::CloseCurrent() {
  if (current_->records == 0) {
    [[maybe_unused]] const Status removed =
        disk_.Remove(path_ + "/" + PackFileName(current_->number));
    MutexLock lock(mutex_);
    open_.erase(current_->number);
    made_.erase(current_->number);
    current_ = nullptr;
    return;
  }
  StartAll(current_);
  MutexLock lock(mutex_);
  current_->full = true;
  Retire(*current_);
  current_ = nullptr;
}

void PackWriter::MakeBuffers(bool registered) {
  if (std::exchange(buffers_made_, true)) return;
  std::vector<MutableBytes> memory;
  MutexLock lock(mutex_);
  for (size_t i = 0; i < kWriteBuffers; ++i) {
    auto buffer = std::make_unique<Buffer>();
    buffer->memory = AlignedBuffer(kWriteBufferBytes);
    if (registered) buffer->registered = static_cast<int>(i);
    memory.push_back(buffer->memory.bytes());
    free_.push_back(std::move(buffer));
  }
  if (registered) queue_.RegisterBuffers(memory);
}

Status PackWriter::OpenPack() {
  CHECK(next_pack_ != 0);
  const std::string name = path_ + "/" + PackFileName(next_pack_);
  return StartPack(disk_.Open(name, OpenMode::kCreateNew, {.direct = true}));
}

Status PackWriter::StartPack(Result<std::unique_ptr<File>> file) {
  if (!file.ok()) {
    return file.status().code() == Code::kIo ? Fence(file.status()) : file.status();
  }
  auto pack = std::make_shared<Pack>();
  pack->number = next_pack_++;
  pack->file = std::move(file).value();
  MakeBuffers(/*registered=*/pack->file->descriptor() >= 0);
  {
    MutexLock lock(mutex_);
    open_.emplace(pack->number, pack);
    made_[pack->number] = 0;
  }
  current_ = std::move(pack);
  return {};
}

Status PackWriter::Allocate(uint64_t end) {
  Pack& pack = *current_;
  if (!can_allocate_ || end <= pack.allocated) return {};
  const uint64_t ahead =
      std::max(end, std::min<uint64_t>(pack.allocated + kAllocateBytes, pack_bytes_target_));
  for (const uint64_t wanted : {AlignUp(ahead, kBlockBytes), end}) {
    const Status status =
        pack.file->Allocate(FALLOC_FL_KEEP_SIZE, pack.allocated, wanted - pack.allocated);
    if (status.ok()) {
      pack.allocated = wanted;
      return {};
    }
    if (status.code() == Code::kUnsupported) {
      can_allocate_ = false;
      return {};
    }
    if (status.code() != Code::kNoSpace) return Fence(status);
  }
  return Status(Code::kNoSpace, "no space for a pack");
}

Status PackWriter::NextBuffer(size_t size) {
  Pack& pack = *current_;
  StartBlocks(current_, kBlockBytes);
  ASSIGN_OR_RETURN(std::unique_ptr<Buffer> buffer, AcquireBuffer(size + kBlockBytes));
  MutexLock lock(mutex_);
  // The last, partial block moves along, so that it is written once, and whole.
  if (!pack.buffers.empty()) {
    const Buffer& last = *pack.buffers.back();
    buffer->fill = last.fill - last.started;
    std::copy_n(last.memory.data() + last.started, buffer->fill, buffer->memory.data());
  }
  buffer->base = pack.end - buffer->fill;
  buffer->started = 0;
  if (pack.end == 0) {
    const std::string header = EncodePackHeader(pack.number, fingerprinter_);
    std::copy(header.begin(), header.end(), buffer->memory.data());
    buffer->fill = header.size();
    pack.end = header.size();
    made_[pack.number] += header.size();
  }
  pack.buffers.push_back(std::move(buffer));
  Retire(pack);
  return {};
}

Result<std::unique_ptr<PackWriter::Buffer>> PackWriter::AcquireBuffer(size_t size) {
  const bool large = size > kWriteBufferBytes;
  bool restarted = false;
  while (true) {
    {
      MutexLock lock(mutex_);
      if (!fence_.ok()) return FencedLocked();
      if (large && large_buffers_ == 0) {
        ++large_buffers_;
        auto buffer = std::make_unique<Buffer>();
        buffer->memory = AlignedBuffer(static_cast<size_t>(AlignUp(size, kBlockBytes)));
        buffer->large = true;
        return buffer;
      }
      if (!large && !free_.empty()) {
        std::unique_ptr<Buffer> buffer = std::move(free_.back());
        free_.pop_back();
        return buffer;
      }
      if (!in_flight_.empty()) {
        AwaitWrite();
        continue;
      }
    }
    // Every buffer waits for a write that the disk had no space for.
    if (std::exchange(restarted, true)) return Status(Code::kNoSpace, "no space for a pack");
    Restart();
  }
}

void PackWriter::StartBlocks(const std::shared_ptr<Pack>& pack, size_t bytes_min) {
  WriteQueue::Write write;
  {
    MutexLock lock(mutex_);
    if (pack->buffers.empty()) return;
    Buffer& buffer = *pack->buffers.back();
    const auto blocks_end = static_cast<size_t>(AlignDown(buffer.fill, kBlockBytes));
    if (blocks_end < buffer.started + bytes_min) return;
    write = {0, pack->file, buffer.base + buffer.started,
             ByteView(buffer.memory.bytes()).subspan(buffer.started, blocks_end - buffer.started),
             buffer.registered};
    pack->unfinished.insert(write.offset);
    buffer.started = blocks_end;
  }
  Start({pack, write});
}

void PackWriter::StartAll(const std::shared_ptr<Pack>& pack) {
  {
    MutexLock lock(mutex_);
    if (pack->buffers.empty()) return;
    Buffer& buffer = *pack->buffers.back();
    const auto padded = static_cast<size_t>(AlignUp(buffer.fill, kBlockBytes));
    std::fill(buffer.memory.data() + buffer.fill, buffer.memory.data() + padded, uint8_t{0});
    made_[pack->number] += padded - buffer.fill;
    pack->end += padded - buffer.fill;
    buffer.fill = padded;
  }
  StartBlocks(pack, kBlockBytes);
}

bool PackWriter::CopyUnwritten(const ChunkLocation& location, MutableBytes out) {
  const uint64_t end = uint64_t{location.offset_bytes} + kHeaderBytes + location.stored_bytes;
  MutexLock lock(mutex_);
  const auto found = open_.find(location.pack);
  if (found == open_.end() || end <= WrittenBytes(*found->second)) return false;
  for (const auto& buffer : found->second->buffers) {
    if (location.offset_bytes < buffer->base || end > buffer->base + buffer->fill) continue;
    const uint8_t* payload =
        buffer->memory.data() + (location.offset_bytes - buffer->base) + kHeaderBytes;
    std::copy_n(payload, location.stored_bytes, out.data());
    return true;
  }
  return false;
}

bool PackWriter::IsOpen(uint32_t pack) {
  MutexLock lock(mutex_);
  return open_.count(pack) != 0;
}

std::vector<PackInfo> PackWriter::Infos() const {
  MutexLock lock(mutex_);
  std::vector<PackInfo> infos;
  for (const auto& [number, bytes] : made_)
    infos.push_back({number, bytes, open_.count(number) != 0});
  return infos;
}

Status PackWriter::Remove(uint32_t pack) {
  RETURN_IF_ERROR(Fenced());
  if (IsOpen(pack)) return Status(Code::kBusy, PackFileName(pack) + " is being written");
  const Status removed = disk_.Remove(path_ + "/" + PackFileName(pack));
  if (!removed.ok() && removed.code() != Code::kNotFound) return removed;
  MutexLock lock(mutex_);
  made_.erase(pack);
  return {};
}

Status PackWriter::SyncNames() {
  const Status synced = disk_.SyncDirectory(path_);
  return synced.ok() ? synced : Fence(synced);
}

}  // namespace varve
