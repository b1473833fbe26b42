// Truncation to nothing: the file begins a new content, and what it was goes on to
// be stored.

#include <unistd.h>

#include <algorithm>
#include <chrono>

#include "fs/core/live_files.h"

namespace varve {
namespace {

// RELEASE is on its way when a truncating open follows a close; so long it may take.
constexpr std::chrono::milliseconds kReleaseWait{20};

}  // namespace

Status LiveFiles::RewriteLocked(OpenFile& file, InodeRecord* record) {
  if (file.content == 0) return ReadyToWriteLocked(file, record);
  if (!file.record.captured && !file.record.stored) {
    // A writer is at it: its unclosed bytes are no version, POSIX truncates them.
    RETURN_IF_ERROR(ReadyToWriteLocked(file, record));
    return file.body()->Truncate(0);
  }
  if (file.mode == IoMode::kPassthrough && file.handles > 0 && !file.record.stored)
    RETURN_IF_ERROR(WaitForReleaseLocked(file, record));
  // What was written since its capture belongs to the version that ends here: half of
  // it, as long as it was and with bytes that came later, never was the file.
  RETURN_IF_ERROR(CaptureLocked(file, record));
  if (file.mode == IoMode::kPassthrough && file.handles > 0)
    return TruncateSharedLocked(file, record);

  const ContentId old_content = file.content;
  ContentRecord old_record = file.record;
  RETURN_IF_ERROR(BeginFreshLocked(file, record));
  file.captured = Stamp();  // the truncation itself is a change
  if (file.handles == 0) DropBackingLocked(file);
  if (!old_record.stored) {
    // The release of its last writer may come later, and finds another content.
    if (queue_ != nullptr) queue_->Enqueue(old_content);
    return Status();
  }
  if (old_record.stage == 0) return Status();
  Batch batch;
  const StageId dropped = std::exchange(old_record.stage, 0);
  batch.Delete(key::Stage(dropped));
  Tree::PutContent(old_content, old_record, &batch);
  RETURN_IF_ERROR(d_.tree.Apply(batch));
  d_.stages.Remove(dropped);
  return Status();
}

Status LiveFiles::WaitForReleaseLocked(OpenFile& file, InodeRecord* record) {
  const auto deadline = std::chrono::steady_clock::now() + kReleaseWait;
  while (file.handles > 0) {
    const auto left = deadline - std::chrono::steady_clock::now();
    if (left <= left.zero() || !changed_.WaitFor(d_.tree.mutex(), left)) break;
  }
  ASSIGN_OR_RETURN(*record, d_.tree.Inode(file.inode));
  return Status();
}

// The kernel has the staging file open for others: the file has to stay the same,
// so it is the old content that moves out.
Status LiveFiles::TruncateSharedLocked(OpenFile& file, InodeRecord* record) {
  StageId copy = 0;
  if (!file.record.stored) {
    ASSIGN_OR_RETURN(copy, CopyAsideLocked(file, record));
  }
  if (file.record.stored) {
    if (copy != 0) d_.stages.Remove(std::exchange(copy, 0));  // stored meanwhile
    RETURN_IF_ERROR(SyncStoredRowsLocked(file, record));
  }
  ContentRecord left = file.record;
  left.stage = copy;
  const ContentId old_content = file.content;
  RETURN_IF_ERROR(TakeOverStageLocked(file, left, record));
  // What was durable before has to stay so: the row that names the copy goes first.
  if (copy != 0 && left.durable) RETURN_IF_ERROR(d_.tree.catalog().SyncLog());
  RETURN_IF_ERROR(file.body()->Truncate(0));
  file.captured = Stamp();
  if (left.stage != 0 && queue_ != nullptr) queue_->Enqueue(old_content);
  return Status();
}

Result<StageId> LiveFiles::CopyAsideLocked(OpenFile& file, InodeRecord* record) {
  if (queue_ != nullptr) queue_->CancelLocked(file.content);
  const StageId source = file.record.stage;
  d_.tree.mutex().Unlock();
  Result<StageId> copy = CopyStage(source);
  d_.tree.mutex().Lock();
  // Asked only now: an fsync may have come meanwhile.
  if (copy.ok() && file.record.durable && !file.record.stored) {
    d_.tree.mutex().Unlock();
    const Status synced = d_.stages.Sync(*copy);
    d_.tree.mutex().Lock();
    if (!synced.ok()) {
      d_.stages.Remove(*copy);
      copy = synced;
    }
  }
  ASSIGN_OR_RETURN(*record, d_.tree.Inode(file.inode));
  return copy;
}

Result<StageId> LiveFiles::CopyStage(StageId source) {
  ASSIGN_OR_RETURN(const uint64_t id, d_.tree.NewId());
  RETURN_IF_ERROR(d_.stages.Copy(source, id));
  return id;
}

}  // namespace varve
