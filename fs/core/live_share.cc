// A copy made inside the store: it shows the original's bytes and has none of its own.
//
// `cp` asks for copy_file_range(2). Where the original is stored, the copy becomes an
// overlay of it without any extent; digesting that repeats the recipe and moves no data.

#include <algorithm>

#include "fs/core/live_files.h"

namespace varve {
namespace {

// What ends before its original may never have been a state of the copy, and that is
// what a power cut would leave of it: so it is shared only where the kernel cuts one
// call into several, at 2 or 4 GiB.
constexpr uint64_t kWholeCallBytes = 0x7fff'0000;

}  // namespace

Result<uint64_t> LiveFiles::ShareRangeLocked(const OpenFile& from, OpenFile& to, ByteRange range) {
  if (!from.record.stored || from.content == 0 || range.begin >= from.record.size_bytes) return 0;
  if (from.foreign) {
    ASSIGN_OR_RETURN(const ContentRecord record, d_.tree.Content(from.content));
    if (!record.stored) return 0;
  }
  range.end = std::min(range.end, from.record.size_bytes);
  if (range.end < from.record.size_bytes && range.end - range.begin < kWholeCallBytes) return 0;
  if (to.mode != IoMode::kDaemon || to.record.stored || to.record.captured) return 0;
  const std::shared_ptr<Body> body = to.body();
  if (!body || !body->stage()) return 0;
  ASSIGN_OR_RETURN(const uint64_t size, body->SizeBytes());
  if (size != range.begin) return 0;
  if (range.begin == 0) {
    const bool fresh = !to.record.overlay && to.record.base == 0 && to.handles == 1;
    if (!fresh) return 0;
    RETURN_IF_ERROR(BeginSharedLocked(from, to, range.end));
    return range.end;
  }
  if (!to.record.overlay || to.record.base != from.content) return 0;
  return static_cast<OverlayBody&>(*body).ShowMore(range);
}

// The kernel keeps every other call that changes `to` away meanwhile.
Status LiveFiles::BeginSharedLocked(const OpenFile& from, OpenFile& to, uint64_t size) {
  OverlayBody::Parts parts;
  parts.content = to.content;
  parts.stage = to.body()->stage();
  parts.base = from.content;
  parts.base_shown_bytes = size;
  ASSIGN_OR_RETURN(parts.base_reader, d_.contents.OpenReader(from.content, from.record.size_bytes,
                                                             d_.tree.PathOf(to.inode)));
  ContentRecord record = to.record;
  record.overlay = true;
  record.base = from.content;
  Batch batch;
  Tree::PutContent(to.content, record, &batch);
  batch.Put(key::Extent(to.content, key::kBaseShown), EncodeOffset(size));
  RETURN_IF_ERROR(d_.tree.Apply(batch));
  // After a death in between the copy is empty, as recovery clamps what shows.
  const Status longer = parts.stage->Truncate(size);
  if (!longer.ok()) {
    Batch undo;
    Tree::PutContent(to.content, to.record, &undo);
    undo.Delete(key::Extent(to.content, key::kBaseShown));
    RETURN_IF_ERROR(d_.tree.Apply(undo));
    return longer;
  }
  to.record = record;
  to.SetBody(std::make_shared<OverlayBody>(std::move(parts), *this));
  return Status();
}

}  // namespace varve
