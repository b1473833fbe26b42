#include "fs/core/collect_bases.h"

#include <utility>

#include "fs/core/content_recipe.h"
#include "fs/core/row_pages.h"

namespace varve {
namespace {

constexpr size_t kAtOnce = 16;
// Floats by themselves, where the base does not tell by what it takes itself.
constexpr uint64_t kAlonePercent = 83;

}  // namespace

Result<uint64_t> CollectBases::Run(const std::vector<CollectChunks::Orphan>& orphans,
                                   const std::set<uint32_t>& emptied) {
  for (const CollectChunks::Orphan& orphan : orphans)
    uses_[orphan.id] = {orphan.location.stored_bytes, 0, 0, emptied.contains(orphan.location.pack)};
  if (uses_.empty()) return uint64_t{0};
  RETURN_IF_ERROR(ForEachTold([&](const ChunkId&, const ChunkLocation& location, Use* use) {
    use->told_bytes += location.stored_bytes;
    use->alone_bytes += uint64_t{location.raw_bytes} * kAlonePercent / 100;
    return Status();
  }));
  for (auto& [id, use] : uses_) use.goes |= use.alone_bytes < use.told_bytes + use.base_bytes;
  std::vector<ChunkTask> some;
  RETURN_IF_ERROR(ForEachTold([&](const ChunkId& id, const ChunkLocation& location, Use* use) {
    if (!use->goes) return Status();
    ChunkTask task;
    task.id = id;
    task.from = location;
    task.bytes_max = location.raw_bytes;
    some.push_back(task);
    return some.size() < kAtOnce ? Status() : RecodeSome(std::exchange(some, {}));
  }));
  RETURN_IF_ERROR(RecodeSome(std::move(some)));
  return recoder_.counts().chunks;
}

Status CollectBases::ForEachTold(const Visit& visit) {
  return ForEachPage(catalog_, key::Table(key::kChunk), [&](const RowPage& page) -> Status {
    for (const auto& [row_key, row] : page) {
      ASSIGN_OR_RETURN(const ChunkLocation location, DecodeLocation(row));
      const auto use = uses_.find(location.base);
      if (use == uses_.end()) continue;
      RETURN_IF_ERROR(visit(key::ChunkOf(row_key), location, &use->second));
    }
    return pause_() ? Status() : Status(Code::kBusy, "the collection was stopped");
  });
}

Status CollectBases::RecodeSome(std::vector<ChunkTask> tasks) {
  RETURN_IF_ERROR(recoder_.Recode(tasks));
  return recoder_.Settle();
}

}  // namespace varve
