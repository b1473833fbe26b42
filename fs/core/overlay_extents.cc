#include "fs/core/overlay_extents.h"

namespace varve {
namespace {

void Join(ExtentMap* map, ByteRange range) {
  ExtentMap::Change change;
  if (map->Plan(range, &change)) map->Apply(change);
}

}  // namespace

void OverlayExtents::Load(std::string_view row_key, uint64_t end_bytes) {
  const ByteRange range{key::Offset(row_key), end_bytes};
  (key::IsFreshExtent(row_key) ? fresh_ : flushed_).Load(range);
  Join(&shown_, range);
}

bool OverlayExtents::Plan(ContentId content, ByteRange range, Addition* addition,
                          Batch* batch) const {
  if (!shown_.Plan(range, &addition->shown)) return false;
  CHECK(fresh_.Plan(range, &addition->fresh));  // a part of it is not even shown
  for (const uint64_t begin : addition->fresh.removed)
    batch->Delete(key::FreshExtent(content, begin));
  const ByteRange added = addition->fresh.added;
  batch->Put(key::FreshExtent(content, added.begin), EncodeOffset(added.end));
  return true;
}

void OverlayExtents::Apply(const Addition& addition) {
  shown_.Apply(addition.shown);
  fresh_.Apply(addition.fresh);
}

OverlayExtents OverlayExtents::Cut(ContentId content, uint64_t size, Batch* batch) const {
  OverlayExtents cut = *this;
  ByteRange shortened;
  cut.shown_.Cut(size, &shortened);
  for (const uint64_t begin : cut.flushed_.Cut(size, &shortened))
    batch->Delete(key::Extent(content, begin));
  if (shortened.begin < shortened.end)
    batch->Put(key::Extent(content, shortened.begin), EncodeOffset(shortened.end));
  for (const uint64_t begin : cut.fresh_.Cut(size, &shortened))
    batch->Delete(key::FreshExtent(content, begin));
  if (shortened.begin < shortened.end)
    batch->Put(key::FreshExtent(content, shortened.begin), EncodeOffset(shortened.end));
  return cut;
}

OverlayExtents OverlayExtents::Settled(ContentId content, Batch* batch) const {
  OverlayExtents settled = *this;
  for (const ByteRange& range : fresh_.All()) {
    batch->Delete(key::FreshExtent(content, range.begin));
    ExtentMap::Change change;
    if (!settled.flushed_.Plan(range, &change)) continue;  // it was written again
    for (const uint64_t begin : change.removed) batch->Delete(key::Extent(content, begin));
    batch->Put(key::Extent(content, change.added.begin), EncodeOffset(change.added.end));
    settled.flushed_.Apply(change);
  }
  settled.fresh_ = ExtentMap();
  return settled;
}

Status LoadExtents(Catalog& catalog, ContentId content, OverlayExtents* extents,
                   uint64_t* base_shown_bytes) {
  Status damaged;
  const key::Range range = key::AllExtents(content);
  RETURN_IF_ERROR(
      catalog.Scan(range.begin, range.end, [&](std::string_view row_key, std::string_view row) {
        const Result<uint64_t> value = DecodeOffset(row);
        if (!value.ok()) {
          damaged = value.status();
          return false;
        }
        if (key::Offset(row_key) == key::kBaseShown) {
          *base_shown_bytes = *value;
        } else {
          extents->Load(row_key, *value);
        }
        return true;
      }));
  return damaged;
}

}  // namespace varve
