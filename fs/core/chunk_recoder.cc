#include "fs/core/chunk_recoder.h"

#include <algorithm>
#include <optional>
#include <unordered_set>
#include <utility>

#include "fs/core/chunk_reads.h"
#include "fs/core/content_recipe.h"
#include "store/base/log.h"
#include "store/codec/sample.h"

namespace varve {
namespace {

bool Same(ByteView a, ByteView b) { return std::equal(a.begin(), a.end(), b.begin(), b.end()); }

// Where nobody says what a chunk's bytes are: the floats whose planes would gain most.
ElementType Guess(ByteView raw) {
  ElementType best = ElementType::kBytes;
  double least = 1;
  for (const ElementType elements : {ElementType::kF32, ElementType::kBF16, ElementType::kF16}) {
    const double ratio = FloatSample(raw, elements).PlanesRatio();
    if (ratio >= least) continue;
    least = ratio;
    best = elements;
  }
  return best;
}

}  // namespace

Status ChunkRecoder::Recode(std::span<ChunkTask> tasks) {
  std::vector<ChunkRead> reads;
  std::unordered_map<ChunkId, size_t, ChunkIdHash> read_of;
  const auto add = [&](const ChunkId& id, const ChunkLocation& location) {
    if (read_of.try_emplace(id, reads.size()).second) reads.push_back({id, location, {}});
  };
  for (ChunkTask& task : tasks) {
    task.done = false;
    add(task.id, task.from);
    if (task.base == ChunkId{}) continue;
    ASSIGN_OR_RETURN(const std::optional<ChunkLocation> base, FindLocation(catalog_, task.base));
    if (base) add(task.base, *base);
  }
  size_t bytes = 0;
  for (const ChunkRead& read : reads) bytes += read.location.raw_bytes;
  memory_.resize(std::max(memory_.size(), bytes));
  MutableBytes left = memory_;
  for (ChunkRead& read : reads) {
    read.out = left.first(read.location.raw_bytes);
    left = left.subspan(read.location.raw_bytes);
  }
  (void)ReadChunks(catalog_, packs_, reads);  // each tells its own status
  for (ChunkTask& task : tasks) {
    const ChunkRead& raw = reads[read_of.at(task.id)];
    if (!raw.status.ok()) {
      LogWarning("chunk {} is not coded anew: {}", ToText(task.id), raw.status.ToString());
      continue;
    }
    ByteView base;
    if (task.base != ChunkId{}) {
      const auto read = read_of.find(task.base);
      if (read == read_of.end() || !reads[read->second].status.ok()) continue;
      base = reads[read->second].out;
    }
    RETURN_IF_ERROR(RecodeOne(raw.out, base, &task));
  }
  return Status();
}

Status ChunkRecoder::RecodeOne(ByteView raw, ByteView base, ChunkTask* task) {
  EncodedChunk encoded;
  if (base.empty()) {
    encoded = EncodeAlone(raw);
  } else {
    const std::optional<EncodedChunk> made = EncodeFrom(raw, base, *task);
    if (!made) return Status();
    encoded = *made;
  }
  if (encoded.payload.size() > task->bytes_max) return Status();
  // What is there now can be read: what takes its place has to be, too.
  again_.resize(raw.size());
  const Status decoded = decoder_.Decode(encoded.encoding, encoded.payload, again_, base);
  if (!decoded.ok() || !Same(again_, raw)) {
    LogError("chunk {} is not coded anew: it would not be read back as it is", ToText(task->id));
    return Status();
  }
  ASSIGN_OR_RETURN(const ChunkLocation to, packs_.Append(task->id, encoded, RoomFor::kContent));
  placed_.push_back({task->id, task->from, to});
  appended_bytes_ += to.stored_bytes;
  task->done = true;
  return Status();
}

std::optional<EncodedChunk> ChunkRecoder::EncodeFrom(ByteView raw, ByteView base,
                                                     const ChunkTask& task) {
  if (task.base_elements != task.elements)
    return encoder_.EncodeAsCast(raw, task.elements, base, task.base, task.base_elements);
  if (raw.size() != base.size()) return std::nullopt;
  return encoder_.EncodeDifference(raw, base, task.base, task.elements, task.bytes_max);
}

EncodedChunk ChunkRecoder::EncodeAlone(ByteView raw) { return encoder_.Encode(raw, Guess(raw)); }

Result<bool> ChunkRecoder::HasEnd(const Placed& chunk, const Places& settled) {
  ChunkId link = chunk.to.base;
  for (size_t links = 1; links < kBaseLinksMax; ++links) {
    if (link == chunk.id) return false;
    std::optional<ChunkLocation> place;
    if (const auto known = settled.find(link); known != settled.end()) {
      place = known->second;
    } else {
      ASSIGN_OR_RETURN(place, FindLocation(catalog_, link));
    }
    if (!place) return false;
    if (!HasBase(place->encoding)) return true;
    link = place->base;
  }
  return false;
}

Status ChunkRecoder::Settle() {
  const std::vector<Placed> placed = std::exchange(placed_, {});
  if (placed.empty()) return Status();
  RETURN_IF_ERROR(packs_.Sync());
  Batch batch;
  Places settled;
  std::unordered_set<ChunkId, ChunkIdHash> bases;
  for (const Placed& chunk : placed) {
    ASSIGN_OR_RETURN(const std::optional<ChunkLocation> now, FindLocation(catalog_, chunk.id));
    if (now != chunk.from || settled.contains(chunk.id)) continue;
    if (HasBase(chunk.to.encoding)) {
      if (bases.contains(chunk.id)) continue;
      ASSIGN_OR_RETURN(const bool ends, HasEnd(chunk, settled));
      if (!ends) continue;
      bases.insert(chunk.to.base);
    }
    settled.emplace(chunk.id, chunk.to);
    batch.Put(key::Chunk(chunk.id), EncodeLocation(chunk.to));
    ++counts_.chunks;
    counts_.bytes_before += chunk.from.stored_bytes;
    counts_.bytes_after += chunk.to.stored_bytes;
  }
  return batch.empty() ? Status() : catalog_.Apply(batch);
}

}  // namespace varve
