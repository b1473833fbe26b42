#include "store/pack/pack_mover.h"

#include <algorithm>
#include <string>
#include <utility>
#include <vector>

#include "store/pack/pack_limits.h"

namespace varve {
namespace {

uint64_t EndOf(const ChunkLocation& location) {
  return uint64_t{location.offset_bytes} + kHeaderBytes + location.stored_bytes;
}

uint64_t FirstBlock(const ChunkLocation& location) {
  return AlignDown(location.offset_bytes, kBlockBytes);
}

Status Damage(const ChunkMove& move, std::string_view why) {
  return Status(Code::kCorrupt, PackFileName(move.from.pack) + " at " +
                                    std::to_string(move.from.offset_bytes) + ": " +
                                    std::string(why));
}

}  // namespace

Status PackMover::Move(std::span<ChunkMove> moves) {
  std::vector<ChunkMove*> left;
  for (ChunkMove& move : moves) {
    move.to = {};
    move.status = {};
    if (!IsPossible(move.from)) {
      move.status = Status(Code::kCorrupt, "impossible location of a chunk");
    } else if (writer_.IsOpen(move.from.pack)) {
      move.status = Status(Code::kBusy, PackFileName(move.from.pack) + " is being written");
    } else {
      left.push_back(&move);
    }
  }
  std::sort(left.begin(), left.end(), [](const ChunkMove* a, const ChunkMove* b) {
    return std::pair(a->from.pack, a->from.offset_bytes) <
           std::pair(b->from.pack, b->from.offset_bytes);
  });
  if (!left.empty()) {
    const AlignedBuffer buffer(kReadBytes);
    Status stopped;
    for (std::span<ChunkMove* const> rest = left; !rest.empty();) {
      const std::span<ChunkMove* const> extent = Neighbours(rest);
      rest = rest.subspan(extent.size());
      if (stopped.ok()) {
        stopped = MoveExtent(extent, buffer);
      } else {
        for (ChunkMove* move : extent) move->status = stopped;
      }
    }
  }
  for (const ChunkMove& move : moves) RETURN_IF_ERROR(move.status);
  return {};
}

std::span<ChunkMove* const> PackMover::Neighbours(std::span<ChunkMove* const> moves) {
  const ChunkLocation& first = moves.front()->from;
  uint64_t end = EndOf(first);
  size_t count = 1;
  for (; count < moves.size(); ++count) {
    const ChunkLocation& next = moves[count]->from;
    if (next.pack != first.pack || FirstBlock(next) > end + kReadGapBytes ||
        AlignUp(EndOf(next), kBlockBytes) - FirstBlock(first) > kReadBytes) {
      break;
    }
    end = std::max(end, EndOf(next));
  }
  return moves.first(count);
}

Status PackMover::MoveExtent(std::span<ChunkMove* const> moves, const AlignedBuffer& buffer) {
  const uint64_t start = FirstBlock(moves.front()->from);
  uint64_t end = start;
  for (const ChunkMove* move : moves) end = std::max(end, EndOf(move->from));
  const MutableBytes memory =
      buffer.bytes().first(static_cast<size_t>(AlignUp(end, kBlockBytes) - start));
  const Result<std::shared_ptr<File>> file = files_.Get(moves.front()->from.pack, /*direct=*/true);
  const Result<size_t> got =
      file.ok() ? (*file)->ReadAt(start, memory) : Result<size_t>(file.status());
  Status stopped;
  for (ChunkMove* move : moves) {
    if (!got.ok() || !stopped.ok()) {
      move->status = got.ok() ? stopped : got.status();
      continue;
    }
    const auto offset = static_cast<size_t>(move->from.offset_bytes - start);
    const Result<ByteView> payload =
        Verify(*move, ByteView(memory).first(*got).subspan(std::min(offset, *got)));
    if (!payload.ok()) {
      move->status = payload.status();
      continue;
    }
    Result<ChunkLocation> to =
        writer_.Append(RecordType::kChunk, move->id.bytes,
                       {move->from.encoding, move->from.raw_bytes, *payload}, RoomFor::kCollection);
    if (to.ok()) {
      move->to = *to;
    } else {
      move->status = stopped = to.status();
    }
  }
  return stopped;
}

Result<ByteView> PackMover::Verify(const ChunkMove& move, ByteView record) const {
  const ChunkLocation& from = move.from;
  if (record.size() < size_t{kHeaderBytes} + from.stored_bytes)
    return Damage(move, "behind the end of the pack");
  const Result<RecordHeader> header =
      DecodeRecordHeader(record.first(kHeaderBytes), from.pack, from.offset_bytes, fingerprinter_);
  if (!header.ok()) return Damage(move, header.status().context());
  if (header->type != RecordType::kChunk || header->name != move.id.bytes ||
      header->encoding != from.encoding || header->stored_bytes != from.stored_bytes ||
      header->raw_bytes != from.raw_bytes) {
    return Damage(move, "another record is there");
  }
  const ByteView payload = record.subspan(kHeaderBytes, from.stored_bytes);
  if (fingerprinter_.Hash64(payload) != header->payload_hash)
    return Damage(move, "payload does not match its hash");
  return payload;
}

}  // namespace varve
