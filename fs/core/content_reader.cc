#include "fs/core/content_reader.h"

#include <unistd.h>

#include <algorithm>

#include "store/base/log.h"

namespace varve {
namespace {

// Of one reader: as many places as a StreamDetector follows, and their windows.
constexpr size_t kSegmentsMax = 16;
// One read of the packs; two workers keep two of them on their way.
constexpr uint64_t kAheadBatchBytes = 4u << 20;
// Beyond this share of the cache, what is loaded ahead would push itself out.
constexpr uint64_t kCalmWindowBytes = 2u << 20;
// A reply in more parts than this costs more to send than to copy.
constexpr size_t kPartsMax = 64;
constexpr size_t kReadBytesMax = 4u << 20;  // of ReadInto, so that it pins little
constexpr int kReportsMax = 16;

// What holes read as. Never written, so it costs address space only.
constexpr size_t kZerosBytes = 1u << 20;
const uint8_t kZeros[kZerosBytes] = {};

ReadReply Flatten(const ReadReply& reply) {
  std::string bytes;
  bytes.reserve(reply.size);
  for (const ByteView part : reply.parts) bytes.append(AsText(part));
  return ReadReply::Of(std::move(bytes));
}

}  // namespace

Status ContentReader::ReadInto(uint64_t offset, MutableBytes out) {
  while (!out.empty()) {
    ASSIGN_OR_RETURN(const ReadReply reply, Read(offset, std::min(out.size(), kReadBytesMax)));
    if (reply.size == 0) break;
    if (reply.descriptor >= 0) {
      const ssize_t got =
          TEMP_FAILURE_RETRY(pread(reply.descriptor, out.data(), std::min(out.size(), reply.size),
                                   static_cast<off_t>(reply.offset)));
      if (got < 0) return Status::Errno(errno);
      if (got == 0) break;
      out = out.subspan(static_cast<size_t>(got));
      offset += static_cast<uint64_t>(got);
      continue;
    }
    for (const ByteView part : reply.parts) {
      std::copy(part.begin(), part.end(), out.begin());
      out = out.subspan(part.size());
    }
    offset += reply.size;
  }
  std::fill(out.begin(), out.end(), uint8_t{0});
  return {};
}

Result<ReadReply> StoredReader::Read(uint64_t offset, size_t size) {
  if (offset >= identity_.size_bytes || size == 0) return ReadReply();
  const ByteRange range{offset, offset + std::min<uint64_t>(size, identity_.size_bytes - offset)};
  Result<ReadReply> reply = ReadRange(range);
  if (!reply.ok()) return Report(offset, reply.status());
  machine_.read_bytes.fetch_add(reply->size, std::memory_order_relaxed);
  return reply;
}

Result<ReadReply> StoredReader::ReadRange(ByteRange range) {
  ASSIGN_OR_RETURN(std::vector<Wanted> wanted, WantedOf(range));
  StartAhead(range);
  LoadWanted(wanted);
  return Assemble(std::move(wanted));
}

Result<StoredReader::SegmentPtr> StoredReader::SegmentAt(uint64_t offset) {
  {
    MutexLock lock(mutex_);
    for (auto it = segments_.begin(); it != segments_.end(); ++it) {
      if (offset < (*it)->begin_bytes || offset >= (*it)->end_bytes) continue;
      segments_.splice(segments_.begin(), segments_, it);
      return segments_.front();
    }
  }
  ASSIGN_OR_RETURN(std::optional<RecipeSegment> found,
                   FindSegment(machine_.catalog, identity_.content, offset));
  if (!found) return Status(Code::kCorrupt, "the recipe ends too early");
  auto segment = std::make_shared<const RecipeSegment>(std::move(*found));
  MutexLock lock(mutex_);
  segments_.push_front(segment);
  if (segments_.size() > kSegmentsMax) segments_.pop_back();
  return segment;
}

Result<std::vector<StoredReader::Wanted>> StoredReader::WantedOf(ByteRange range) {
  std::vector<Wanted> wanted;
  uint64_t position = range.begin;
  while (position < range.end) {
    ASSIGN_OR_RETURN(const SegmentPtr segment, SegmentAt(position));
    uint64_t begin = segment->begin_bytes;
    for (const Piece& piece : segment->pieces) {
      const uint64_t end = begin + piece.size_bytes;
      if (position < end && begin < range.end) {
        wanted.push_back({{begin, piece}, {position, std::min(end, range.end)}, nullptr});
        position = wanted.back().range.end;
      }
      begin = end;
    }
  }
  return wanted;
}

void StoredReader::LoadWanted(std::vector<Wanted>& wanted) {
  std::vector<ChunkPin> mine;
  uint64_t hits = 0;
  for (Wanted& want : wanted) {
    const Piece& piece = want.placed.piece;
    if (piece.hole()) continue;
    ChunkCache::Claimed claimed =
        machine_.cache.Claim(piece.id, static_cast<uint32_t>(piece.size_bytes));
    want.chunk = claimed.chunk;
    if (claimed.mine) {
      mine.push_back(std::move(claimed.chunk));
    } else {
      ++hits;
    }
  }
  machine_.cache_hits.fetch_add(hits, std::memory_order_relaxed);
  machine_.cache_misses.fetch_add(mine.size(), std::memory_order_relaxed);
  if (!mine.empty()) machine_.loader.Load(mine);
}

Result<ReadReply> StoredReader::Assemble(std::vector<Wanted> wanted) {
  ReadReply reply;
  for (const Wanted& want : wanted) {
    size_t left = static_cast<size_t>(want.range.end - want.range.begin);
    reply.size += left;
    if (want.chunk == nullptr) {
      for (; left > 0; left -= reply.parts.back().size())
        reply.parts.push_back(ByteView(kZeros).first(std::min(left, kZerosBytes)));
      continue;
    }
    RETURN_IF_ERROR(machine_.cache.Wait(want.chunk));
    const ByteView bytes = want.chunk->bytes();
    if (bytes.size() != want.placed.piece.size_bytes) {
      return Status(Code::kCorrupt, "a chunk has another size than its recipe says");
    }
    reply.parts.push_back(
        bytes.subspan(static_cast<size_t>(want.range.begin - want.placed.begin_bytes), left));
    machine_.cache.Used(want.chunk, want.range.end == want.placed.end_bytes());
  }
  if (reply.parts.size() > kPartsMax) return Flatten(reply);
  reply.keep_alive = std::make_shared<const std::vector<Wanted>>(std::move(wanted));
  return reply;
}

void StoredReader::StartAhead(ByteRange read) {
  // What others have loaded ahead leaves less for this stream, so that all of it
  // together fits into the cache beside what is being used.
  const bool crowded = machine_.cache.ahead_bytes() > machine_.cache.bytes_max() / 2;
  const uint64_t window_max = crowded ? kCalmWindowBytes : StreamDetector::kWindowBytesMax;
  ByteRange ahead;
  {
    MutexLock lock(mutex_);
    ahead = streams_.OnRead(read, identity_.size_bytes, window_max);
  }
  while (ahead.begin < ahead.end) {
    const ByteRange batch{ahead.begin, std::min(ahead.end, ahead.begin + kAheadBatchBytes)};
    // Where the queue is full the stream is read without being ahead.
    if (!machine_.workers.Submit([self = shared_from_this(), batch] { self->LoadAhead(batch); }))
      return;
    ahead.begin = batch.end;
  }
}

void StoredReader::LoadAhead(ByteRange range) noexcept {
  {
    // The stream may have been faster than the queue.
    MutexLock lock(mutex_);
    range = streams_.StillAhead(range);
  }
  const uint64_t room = machine_.cache.bytes_max() / 4 * 3;
  if (machine_.cache.ahead_bytes() + (range.end - range.begin) > room) return;
  // An error is reported when somebody wants the bytes.
  Result<std::vector<Wanted>> wanted = WantedOf(range);
  if (!wanted.ok()) return;
  std::vector<ChunkPin> mine;
  for (const Wanted& want : *wanted) {
    const Piece& piece = want.placed.piece;
    if (piece.hole()) continue;
    std::optional<ChunkPin> claimed =
        machine_.cache.ClaimAhead(piece.id, static_cast<uint32_t>(piece.size_bytes));
    if (!claimed) continue;
    machine_.read_ahead_bytes.fetch_add(piece.size_bytes, std::memory_order_relaxed);
    mine.push_back(std::move(*claimed));
  }
  if (!mine.empty()) machine_.loader.Load(mine);
}

Status StoredReader::Report(uint64_t offset, const Status& status) {
  if (reports_.fetch_add(1, std::memory_order_relaxed) < kReportsMax) {
    LogError("cannot read {} at byte {} (content {}): {}", identity_.path_for_messages, offset,
             identity_.content, status);
  }
  return Status(status.code(), "content " + std::to_string(identity_.content) + " at byte " +
                                   std::to_string(offset) + ": " + std::string(status.context()));
}

Result<uint64_t> StoredReader::EndOfRun(uint64_t offset, bool hole) {
  uint64_t position = offset;
  Status damage;
  const key::Range rows = key::AllRecipe(identity_.content, offset + 1);
  RETURN_IF_ERROR(machine_.catalog.Scan(
      rows.begin, rows.end, [&](std::string_view row, std::string_view value) {
        const Result<RecipeSegment> segment = DecodeSegment(key::Offset(row), value);
        if (!segment.ok() || segment->begin_bytes > position) {
          damage = Status(Code::kCorrupt, "the recipe is damaged");
          return false;
        }
        uint64_t end = segment->begin_bytes;
        for (const Piece& piece : segment->pieces) {
          end += piece.size_bytes;
          if (end <= position) continue;
          if (piece.hole() != hole) return false;
          position = end;
        }
        return position < identity_.size_bytes;
      }));
  if (!damage.ok()) return Report(offset, damage);
  return std::min(position, identity_.size_bytes);
}

Result<uint64_t> StoredReader::Seek(uint64_t offset, int whence) {
  if (whence != SEEK_DATA && whence != SEEK_HOLE) return Status::Errno(EINVAL);
  if (offset >= identity_.size_bytes) return Status::Errno(ENXIO);
  if (whence == SEEK_DATA) {
    ASSIGN_OR_RETURN(const uint64_t data, EndOfRun(offset, /*hole=*/true));
    return data < identity_.size_bytes ? Result<uint64_t>(data) : Status::Errno(ENXIO);
  }
  {
    MutexLock lock(mutex_);
    if (offset >= data_run_.begin && offset < data_run_.end) return data_run_.end;
  }
  // The end of the content is a hole.
  ASSIGN_OR_RETURN(const uint64_t end, EndOfRun(offset, /*hole=*/false));
  MutexLock lock(mutex_);
  data_run_ = {offset, end};
  return end;
}

}  // namespace varve
