// The extents of an overlay: which ranges its staging file holds, and which of them a
// power cut leaves.
//
// What was written since the last flush is *fresh*. Its rows may reach the disk before
// its bytes, so a power cut drops them, and the base or what was flushed shows. A flush
// of the staging file settles them.
//
// Threads: not thread-safe.
// Units:   bytes, half-open ranges.
// Format:  docs/FORMAT.md, rows `E`.
#pragma once

#include "fs/core/extent_map.h"
#include "fs/core/keys.h"
#include "index/catalog.h"

namespace varve {

class OverlayExtents {
 public:
  // A row as it is in the index, but that of kBaseShown.
  void Load(std::string_view row_key, uint64_t end_bytes);

  // All ranges that the staging file holds.
  const ExtentMap& shown() const { return shown_; }

  // Adds a range to `batch` that was written; false when it is there already. Nothing is
  // changed before Apply().
  struct Addition {
    ExtentMap::Change shown, fresh;
  };
  bool Plan(ContentId content, ByteRange range, Addition* addition, Batch* batch) const;
  void Apply(const Addition& addition);

  // The extents without everything at and beyond `size`.
  OverlayExtents Cut(ContentId content, uint64_t size, Batch* batch) const;
  // The extents when the staging file has been flushed.
  OverlayExtents Settled(ContentId content, Batch* batch) const;
  bool settled() const { return fresh_.empty(); }

 private:
  ExtentMap shown_;
  ExtentMap flushed_;
  ExtentMap fresh_;
};

// All rows of one overlay. `base_shown_bytes` stays as it is if no row says it.
Status LoadExtents(Catalog& catalog, ContentId content, OverlayExtents* extents,
                   uint64_t* base_shown_bytes);

}  // namespace varve
