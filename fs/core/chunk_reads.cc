#include "fs/core/chunk_reads.h"

#include <optional>
#include <string>
#include <vector>

#include "fs/core/content_recipe.h"

namespace varve {
namespace {

// Ok when `read` has another place now and is worth another try.
Status LocateAgain(Catalog& catalog, ChunkRead* read) {
  ASSIGN_OR_RETURN(const std::optional<ChunkLocation> location, FindLocation(catalog, read->id));
  if (!location) {
    return Status(Code::kCorrupt, "chunk " + ToText(read->id) + " is not in the index any more");
  }
  if (*location == read->location) {
    return Status(Code::kCorrupt,
                  "chunk " + ToText(read->id) + " is lost: " + std::string(read->status.context()));
  }
  if (location->raw_bytes != read->out.size()) {
    return Status(Code::kCorrupt, "chunk " + ToText(read->id) + " has another size");
  }
  read->location = *location;
  return {};
}

}  // namespace

Status ReadChunks(Catalog& catalog, PackStore& packs, std::span<ChunkRead> reads, ReadFrom from) {
  // Each read carries its own status.
  (void)packs.Read(reads, from);
  // Ends, because each turn takes a location that changed meanwhile; more than one is
  // hardly ever needed.
  while (true) {
    std::vector<ChunkRead*> stale;
    for (ChunkRead& read : reads) {
      if (read.status.code() != Code::kNotFound) continue;
      if (Status status = LocateAgain(catalog, &read); status.ok()) {
        stale.push_back(&read);
      } else {
        read.status = std::move(status);
      }
    }
    if (stale.empty()) break;
    std::vector<ChunkRead> again;
    for (const ChunkRead* read : stale) again.push_back(*read);
    (void)packs.Read(again, from);
    for (size_t i = 0; i < stale.size(); ++i) stale[i]->status = again[i].status;
  }
  for (const ChunkRead& read : reads) RETURN_IF_ERROR(read.status);
  return {};
}

}  // namespace varve
