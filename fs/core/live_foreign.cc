// Files that show a content of another inode, as those of a clone do until they are written.
//
// Such a content was captured with its directory, so nobody goes on with it in place. Its
// staging file is its inode's: it may become a hot copy, and the next content's.

#include "fs/core/live_files.h"
#include "fs/core/overlay_extents.h"

namespace varve {

Status LiveFiles::LoadRecordLocked(OpenFile& file) {
  ASSIGN_OR_RETURN(file.record, d_.tree.Content(file.content));
  file.foreign = file.record.inode != file.inode;
  if (!file.foreign) return Status();
  file.record.captured = file.record.stored = file.record.durable = true;
  file.record.overlay = false;
  file.record.stage = file.record.base = file.record.replaced = 0;
  return Status();
}

// Written in place: only what is written takes room, once the original is stored.
Status LiveFiles::BeginOwnLocked(OpenFile& file, InodeRecord* record) {
  ASSIGN_OR_RETURN(ContentRecord original, d_.tree.Content(file.content));
  if (!original.stored && queue_ != nullptr) {
    queue_->StoreNowLocked(file.content);
    ASSIGN_OR_RETURN(*record, d_.tree.Inode(file.inode));
    ASSIGN_OR_RETURN(original, d_.tree.Content(file.content));
  }
  if (original.stored) return BeginOverlayLocked(file, record);
  d_.tree.mutex().Unlock();
  const Result<StageId> copy = CopyStage(original.stage);
  d_.tree.mutex().Lock();
  // Its inode may have gone on with the staging file, and left a copy of its own; or a piece
  // of it was stored, and is in the staging file no more.
  ASSIGN_OR_RETURN(*record, d_.tree.Inode(file.inode));
  ASSIGN_OR_RETURN(const ContentRecord now, d_.tree.Content(file.content));
  if (now.stage != original.stage || now.stored || now.overlay != original.overlay ||
      now.base != original.base) {
    if (copy.ok()) d_.stages.Remove(*copy);
    return BeginOwnLocked(file, record);
  }
  RETURN_IF_ERROR(copy.status());
  const Status begun = AppendOwnCopyLocked(original, *copy, file, record);
  if (!begun.ok()) d_.stages.Remove(*copy);
  return begun;
}

Status LiveFiles::AppendOwnCopyLocked(const ContentRecord& original, StageId copy, OpenFile& file,
                                      InodeRecord* record) {
  ContentRecord own;
  own.overlay = original.overlay;
  own.stage = copy;
  own.base = original.overlay ? original.base : file.content;
  own.replaced = original.overlay ? file.content : 0;
  own.inode = file.inode;
  own.size_bytes = original.overlay ? original.size_bytes : 0;
  ASSIGN_OR_RETURN(const ContentId content, d_.tree.NewId());
  Batch batch;
  if (own.overlay) {
    OverlayExtents extents;
    uint64_t base_shown = 0;
    RETURN_IF_ERROR(LoadExtents(d_.tree.catalog(), file.content, &extents, &base_shown));
    batch.Put(key::Extent(content, key::kBaseShown), EncodeOffset(base_shown));
    for (const ByteRange& extent : extents.shown().All())
      batch.Put(key::Extent(content, extent.begin), EncodeOffset(extent.end));
  }
  ASSIGN_OR_RETURN(const std::shared_ptr<File> stage, d_.stages.Open(copy, OpenMode::kReadWrite));
  // The staging file's times are the file's from now on.
  const struct timespec times[2] = {record->access_time, record->modify_time};
  RETURN_IF_ERROR(stage->SetTimes(times));
  ASSIGN_OR_RETURN(const struct stat stat, stage->Stat());
  Tree::PutContent(content, own, &batch);
  Tree::PutStageOwner(copy, content, &batch);
  record->content = content;
  Tree::PutInode(file.inode, *record, &batch);
  RETURN_IF_ERROR(d_.tree.Apply(batch));
  file.content = content;
  file.record = own;
  file.foreign = false;
  file.begun = true;
  file.captured = Stamp::Of(stat);
  if (!own.overlay) {
    file.SetBody(std::make_shared<StagedBody>(stage));
    return Status();
  }
  ASSIGN_OR_RETURN(auto overlay, OpenOverlay(content, own, OpenMode::kReadWrite));
  file.SetBody(std::move(overlay));
  return Status();
}

Status LiveFiles::FlushForeign(InodeNumber inode) {
  ContentId content = 0;
  StageId stage = 0;
  {
    MutexLock lock(d_.tree.mutex());
    const std::shared_ptr<OpenFile> file = FindLocked(inode);
    if (!file || !file->foreign) return Status();
    ASSIGN_OR_RETURN(const ContentRecord record, d_.tree.Content(file->content));
    if (record.stored || record.durable) return Status();
    content = file->content;
    stage = record.stage;
  }
  RETURN_IF_ERROR(FlushPending(content));
  RETURN_IF_ERROR(d_.stages.SyncName(stage));
  MutexLock lock(d_.tree.mutex());
  return MarkDurableLocked(content, stage);
}

}  // namespace varve
