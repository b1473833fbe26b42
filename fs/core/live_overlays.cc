// Contents that are changed in place and hold only what differs from a stored one.

#include "fs/core/live_files.h"

namespace varve {

Result<std::shared_ptr<OverlayBody>> LiveFiles::OpenOverlay(ContentId content,
                                                            const ContentRecord& record,
                                                            OpenMode mode) {
  OverlayBody::Parts parts;
  parts.content = content;
  parts.base = record.base;
  ASSIGN_OR_RETURN(const ContentRecord base, d_.tree.Content(record.base));
  ASSIGN_OR_RETURN(parts.base_reader, d_.contents.OpenReader(record.base, base.size_bytes,
                                                             d_.tree.PathOf(record.inode)));
  ASSIGN_OR_RETURN(parts.stage, d_.stages.Open(record.stage, mode));
  RETURN_IF_ERROR(LoadExtents(d_.tree.catalog(), content, &parts.extents, &parts.base_shown_bytes));
  return std::make_shared<OverlayBody>(std::move(parts), *this);
}

// A cold content is changed in place: only what is written takes room.
Status LiveFiles::BeginOverlayLocked(OpenFile& file, InodeRecord* record) {
  Batch batch;
  ASSIGN_OR_RETURN(Fresh fresh, NewContent(file.inode, file.content, &batch));
  RETURN_IF_ERROR(fresh.stage->Truncate(record->size_bytes));
  fresh.record.overlay = true;
  fresh.record.replaced = file.content;
  Tree::PutContent(fresh.content, fresh.record, &batch);
  batch.Put(key::Extent(fresh.content, key::kBaseShown), EncodeOffset(record->size_bytes));
  record->content = fresh.content;
  Tree::PutInode(file.inode, *record, &batch);
  ASSIGN_OR_RETURN(auto reader, d_.contents.OpenReader(file.content, record->size_bytes,
                                                       d_.tree.PathOf(file.inode)));
  // The staging file's time is the file's from now on.
  const struct timespec times[2] = {record->access_time, record->modify_time};
  RETURN_IF_ERROR(fresh.stage->SetTimes(times));
  ASSIGN_OR_RETURN(const struct stat stat, fresh.stage->Stat());
  RETURN_IF_ERROR(d_.tree.Apply(batch));
  OverlayBody::Parts parts;
  parts.content = fresh.content;
  parts.stage = fresh.stage;
  parts.base = file.content;
  parts.base_reader = std::move(reader);
  parts.base_shown_bytes = record->size_bytes;
  file.SetBody(std::make_shared<OverlayBody>(std::move(parts), *this));
  file.content = fresh.content;
  file.record = fresh.record;
  file.foreign = false;
  file.begun = true;
  file.captured = Stamp::Of(stat);
  return Status();
}

// A pending overlay stays as it is, with a copy of the staging file; the new content has the
// original, the same extents and the same base.
Status LiveFiles::TakeOverOverlayLocked(OpenFile& file, const ContentRecord& left,
                                        InodeRecord* record) {
  ContentRecord taken;
  taken.overlay = true;
  taken.stage = file.record.stage;
  taken.base = file.record.base;
  taken.replaced = file.content;
  taken.inode = file.inode;
  taken.size_bytes = file.record.size_bytes;
  OverlayBody::Parts parts;
  ASSIGN_OR_RETURN(parts.content, d_.tree.NewId());
  parts.base = taken.base;
  ASSIGN_OR_RETURN(const ContentRecord base, d_.tree.Content(taken.base));
  ASSIGN_OR_RETURN(parts.base_reader,
                   d_.contents.OpenReader(taken.base, base.size_bytes, d_.tree.PathOf(file.inode)));
  ASSIGN_OR_RETURN(parts.stage, d_.stages.Open(taken.stage, OpenMode::kReadWrite));
  ASSIGN_OR_RETURN(const struct stat stat, parts.stage->Stat());
  OverlayExtents extents;
  RETURN_IF_ERROR(LoadExtents(d_.tree.catalog(), file.content, &extents, &parts.base_shown_bytes));
  Batch batch;
  batch.Put(key::Extent(parts.content, key::kBaseShown), EncodeOffset(parts.base_shown_bytes));
  for (const ByteRange& extent : extents.shown().All()) {
    const std::string row = key::Extent(parts.content, extent.begin);
    parts.extents.Load(row, extent.end);
    batch.Put(row, EncodeOffset(extent.end));
  }
  Tree::PutContent(file.content, left, &batch);
  Tree::PutStageOwner(left.stage, file.content, &batch);
  Tree::PutContent(parts.content, taken, &batch);
  Tree::PutStageOwner(taken.stage, parts.content, &batch);
  record->content = parts.content;
  Tree::PutInode(file.inode, *record, &batch);
  RETURN_IF_ERROR(d_.tree.Apply(batch));
  file.content = parts.content;
  file.record = taken;
  file.begun = true;
  file.captured = Stamp::Of(stat);
  file.SetBody(std::make_shared<OverlayBody>(std::move(parts), *this));
  return Status();
}

// An overlay can have been taken over from another one, with what that had.
Result<bool> LiveFiles::ShowsBase(ContentId content, const ContentRecord& record,
                                  uint64_t size_bytes) {
  if (!record.overlay) return true;
  ASSIGN_OR_RETURN(const ContentRecord base, d_.tree.Content(record.base));
  OverlayExtents extents;
  uint64_t base_shown = 0;
  RETURN_IF_ERROR(LoadExtents(d_.tree.catalog(), content, &extents, &base_shown));
  return extents.shown().empty() && base_shown == base.size_bytes && size_bytes == base.size_bytes;
}

}  // namespace varve
