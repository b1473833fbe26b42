#include "store/pack/pack_reader.h"

#include <algorithm>
#include <thread>
#include <utility>

#include "store/pack/pack_limits.h"

namespace varve {
namespace {

unsigned DecodeThreads(unsigned wanted) {
  if (wanted != 0) return wanted;
  const unsigned cores = std::thread::hardware_concurrency();
  return std::clamp(cores > 0 ? cores - 1 : 1, 1u, static_cast<unsigned>(kDecodeThreadsMax));
}

}  // namespace

PackReader::PackReader(PackFiles& files, PackWriter& writer, const Fingerprinter& fingerprinter,
                       const Options& options)
    : files_(files), writer_(writer), fingerprinter_(fingerprinter), options_(options) {}

Status PackReader::Read(std::span<ChunkRead> reads, ReadFrom from) {
  std::unique_ptr<ReadLane> lane = AcquireLane();
  std::vector<ChunkRead*> left;
  for (ChunkRead& read : reads) {
    if (ReadAtOnce(read, lane->decoder)) continue;
    if (from == ReadFrom::kPageCache) {
      ReadCached(read, lane->decoder);
    } else {
      left.push_back(&read);
    }
  }
  std::sort(left.begin(), left.end(), [](const ChunkRead* a, const ChunkRead* b) {
    return std::pair(a->location.pack, a->location.offset_bytes) <
           std::pair(b->location.pack, b->location.offset_bytes);
  });
  if (!left.empty()) RunBatch(MakeExtents(left), *lane);
  ReleaseLane(std::move(lane));
  for (const ChunkRead& read : reads) RETURN_IF_ERROR(read.status);
  return {};
}

bool PackReader::ReadAtOnce(ChunkRead& read, Decoder& decoder) {
  read.status = {};
  if (!IsPossible(read.location)) {
    read.status = Status(Code::kCorrupt, "impossible location of a chunk");
    return true;
  }
  if (read.out.size() != read.location.raw_bytes) {
    read.status = Status(Code::kInvalid, "a chunk is read whole");
    return true;
  }
  if (!writer_.IsOpen(read.location.pack)) return false;
  std::vector<uint8_t> payload(read.location.stored_bytes);
  if (!writer_.CopyUnwritten(read.location, payload)) return false;
  read.status = DecodeChunk(read, payload, fingerprinter_, decoder);
  return true;
}

void PackReader::ReadCached(ChunkRead& read, Decoder& decoder) {
  const Result<std::shared_ptr<File>> file = files_.Get(read.location.pack, /*direct=*/false);
  if (!file.ok()) {
    read.status = file.status();
    return;
  }
  // A raw chunk goes where it belongs without a copy of ours; decoding it in
  // place only verifies it.
  std::vector<uint8_t> memory;
  MutableBytes payload = read.out;
  if (read.location.encoding != Encoding::kRaw) {
    memory.resize(read.location.stored_bytes);
    payload = memory;
  } else if (read.location.stored_bytes != read.location.raw_bytes) {
    read.status = Status(Code::kCorrupt, "impossible location of a chunk");
    return;
  }
  const Result<size_t> got =
      (*file)->ReadAt(uint64_t{read.location.offset_bytes} + kHeaderBytes, payload);
  read.status = got.ok() ? DecodeChunk(read, ByteView(payload).first(*got), fingerprinter_, decoder)
                         : got.status();
}

std::vector<ReadExtent> PackReader::MakeExtents(std::span<ChunkRead* const> reads) {
  std::vector<ReadExtent> extents;
  uint32_t pack = 0;
  for (ChunkRead* read : reads) {
    const uint64_t payload = uint64_t{read->location.offset_bytes} + kHeaderBytes;
    const uint64_t start = AlignDown(payload, kBlockBytes);
    const uint64_t end = AlignUp(payload + read->location.stored_bytes, kBlockBytes);
    if (pack == read->location.pack && !extents.empty()) {
      ReadExtent& last = extents.back();
      if (start <= last.end + kReadGapBytes && end - last.start <= kReadBytes) {
        last.end = std::max(last.end, end);
        last.chunks.push_back(read);
        continue;
      }
    }
    Result<std::shared_ptr<File>> file = files_.Get(read->location.pack, /*direct=*/true);
    if (!file.ok()) {
      read->status = file.status();
      continue;
    }
    pack = read->location.pack;
    extents.push_back({std::move(file).value(), start, end, {read}});
  }
  return extents;
}

void PackReader::RunBatch(std::vector<ReadExtent> extents, ReadLane& lane) {
  if (extents.empty()) return;
  // One extent is one call; and the simulator, which has no descriptors, wants
  // everything in the order of the calls.
  const bool parallel = extents.size() > 1 && extents.front().file->descriptor() >= 0;
  const size_t buffers = parallel ? kReadsInFlight : 1;
  while (lane.buffers.size() < buffers) lane.buffers.emplace_back(kReadBytes);
  if (parallel && lane.ring == nullptr && options_.io_uring) {
    if (Result<std::unique_ptr<Ring>> ring = Ring::Open(kReadsInFlight); ring.ok()) {
      lane.ring = std::move(ring).value();
      std::vector<MutableBytes> memory;
      for (const AlignedBuffer& buffer : lane.buffers) memory.push_back(buffer.bytes());
      lane.ring->RegisterBuffers(memory);
    }
  }
  const auto batch = std::make_shared<ReadBatch>(std::move(extents), lane,
                                                 parallel ? &Pool() : nullptr, fingerprinter_);
  batch->Run();
}

std::unique_ptr<ReadLane> PackReader::AcquireLane() {
  MutexLock lock(mutex_);
  while (idle_.empty() && lanes_ == kReadLanes) released_.Wait(mutex_);
  if (idle_.empty()) {
    ++lanes_;
    return std::make_unique<ReadLane>();
  }
  std::unique_ptr<ReadLane> lane = std::move(idle_.back());
  idle_.pop_back();
  return lane;
}

void PackReader::ReleaseLane(std::unique_ptr<ReadLane> lane) {
  MutexLock lock(mutex_);
  if (idle_.size() < kIdleLanesMax) {
    idle_.push_back(std::move(lane));
  } else {
    --lanes_;
  }
  released_.NotifyOne();
}

DecodePool& PackReader::Pool() {
  MutexLock lock(mutex_);
  if (pool_ == nullptr)
    pool_ = std::make_unique<DecodePool>(DecodeThreads(options_.decode_threads));
  return *pool_;
}

}  // namespace varve
