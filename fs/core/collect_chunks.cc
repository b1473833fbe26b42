#include "fs/core/collect_chunks.h"

#include <unordered_map>

#include "fs/core/content_recipe.h"

namespace varve {
namespace {

constexpr uint64_t kRecordHeaderBytes = 64;
constexpr uint64_t kRecordAlignment = 64;
constexpr uint64_t kTableEntryBytes = 32;
constexpr uint64_t kTableBaseBytes = 16;
constexpr size_t kAtOnce = 256;

uint64_t RoomOf(const ChunkLocation& location) {
  const uint64_t record = kRecordHeaderBytes + location.stored_bytes;
  const bool based = HasBase(location.encoding);
  return (record + kRecordAlignment - 1) / kRecordAlignment * kRecordAlignment + kTableEntryBytes +
         (based ? kTableBaseBytes : 0);
}

}  // namespace

Status CollectChunks::Mark(const std::function<bool(ContentId)>& is_dead) {
  RETURN_IF_ERROR(
      ForEachPage(catalog_, key::Table(key::kRecipe), [&](const RowPage& page) -> Status {
        for (const auto& [row_key, row] : page) {
          if (is_dead(key::Id(row_key))) continue;
          ASSIGN_OR_RETURN(const RecipeSegment segment, DecodeSegment(key::Offset(row_key), row));
          for (const Piece& piece : segment.pieces)
            if (!piece.hole()) live_.Add(ShortName(piece.id));
        }
        return pause_() ? Status() : Status(Code::kBusy, "the collection was stopped");
      }));
  live_.Settle();
  return Status();
}

Result<CollectChunks::Removed> CollectChunks::Sweep(bool apply) {
  // A base goes when nothing is made from it any more, a turn after the last that was. That
  // holds whoever meets a chunk meanwhile: what has a base was coded so by the collector.
  do {
    RETURN_IF_ERROR(FindBases());
    bases_freed_ = false;
    packs_.clear();
    orphans_.clear();
    const Status walked =
        ForEachPage(catalog_, key::Table(key::kChunk), [&](const RowPage& page) -> Status {
          RETURN_IF_ERROR(SweepPage(page, apply));
          return pause_() ? Status() : Status(Code::kBusy, "the collection was stopped");
        });
    RETURN_IF_ERROR(walked);
  } while (bases_freed_);
  return removed_;
}

Status CollectChunks::FindBases() {
  bases_ = {};
  const Status walked =
      ForEachPage(catalog_, key::Table(key::kChunk), [&](const RowPage& page) -> Status {
        for (const auto& [row_key, row] : page) {
          ASSIGN_OR_RETURN(const ChunkLocation location, DecodeLocation(row));
          if (!HasBase(location.encoding)) continue;
          if (!gone_.contains(ShortName(key::ChunkOf(row_key))))
            bases_.Add(ShortName(location.base));
        }
        return pause_() ? Status() : Status(Code::kBusy, "the collection was stopped");
      });
  bases_.Settle();
  return walked;
}

Status CollectChunks::SweepPage(const RowPage& page, bool apply) {
  std::unordered_map<ChunkId, ChunkLocation, ChunkIdHash> dead;
  std::vector<ChunkId> names;
  const auto count = [&](const ChunkLocation& location) {
    PackContents& pack = packs_[location.pack];
    ++pack.chunks;
    pack.bytes += RoomOf(location);
  };
  const auto remove = [&]() -> Status {
    ASSIGN_OR_RETURN(const std::vector<ChunkId> gone,
                     apply ? contents_.RemoveUnused(names) : Result<std::vector<ChunkId>>(names));
    for (const ChunkId& id : gone) {
      const ChunkLocation& location = dead.at(id);
      ++removed_.chunks;
      removed_.bytes += RoomOf(location);
      bases_freed_ |= HasBase(location.encoding);
      if (!apply) gone_.insert(ShortName(id));
      dead.erase(id);
    }
    for (const auto& [id, location] : dead) count(location);
    dead.clear();
    names.clear();
    return Status();
  };
  for (const auto& [row_key, row] : page) {
    ASSIGN_OR_RETURN(const ChunkLocation location, DecodeLocation(row));
    const ChunkId id = key::ChunkOf(row_key);
    if (gone_.contains(ShortName(id))) continue;
    const bool live = live_.Has(ShortName(id));
    if (live || bases_.Has(ShortName(id))) {
      if (!live) orphans_.push_back({id, location});
      count(location);
      continue;
    }
    dead.emplace(id, location);
    names.push_back(id);
    if (names.size() == kAtOnce) RETURN_IF_ERROR(remove());
  }
  return remove();
}

}  // namespace varve
