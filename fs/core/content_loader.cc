#include "fs/core/content_loader.h"

#include <vector>

#include "fs/core/chunk_reads.h"
#include "fs/core/content_recipe.h"

namespace varve {
namespace {

Result<ChunkLocation> Locate(Catalog& catalog, const CachedChunk& chunk, size_t size) {
  ASSIGN_OR_RETURN(const std::optional<ChunkLocation> location, FindLocation(catalog, chunk.id()));
  if (!location) {
    return Status(Code::kCorrupt, "chunk " + ToText(chunk.id()) + " is not in the index");
  }
  if (location->raw_bytes != size) {
    return Status(Code::kCorrupt, "chunk " + ToText(chunk.id()) + " has another size");
  }
  return *location;
}

}  // namespace

void ChunkLoader::Load(std::span<const ChunkPin> claimed) {
  std::vector<ChunkRead> reads;
  std::vector<const ChunkPin*> pins;
  reads.reserve(claimed.size());
  pins.reserve(claimed.size());
  for (const ChunkPin& chunk : claimed) {
    const MutableBytes room = chunk->room();
    const Result<ChunkLocation> location = Locate(catalog_, *chunk, room.size());
    if (!location.ok()) {
      cache_.Publish(chunk, location.status());
      continue;
    }
    reads.push_back({chunk->id(), *location, room, Status()});
    pins.push_back(&chunk);
  }
  if (reads.empty()) return;
  // Each read carries its own status; the first error is one of them.
  (void)ReadChunks(catalog_, packs_, reads);
  for (size_t i = 0; i < reads.size(); ++i) cache_.Publish(*pins[i], reads[i].status);
}

}  // namespace varve
