// What is asked of, or told to, a live file besides its bytes: times, durability,
// status, and whether its hot copy may stay.

#include <fcntl.h>
#include <sys/stat.h>

#include "fs/core/live_files.h"
#include "fs/core/status_attributes.h"

namespace varve {
namespace {

bool IsUnchanged(const OpenFile* file) {
  if (file == nullptr) return false;
  const std::shared_ptr<Body> body = file->body();
  if (!body || !body->stage()) return false;
  const Result<struct stat> stat = body->stage()->Stat();
  return stat.ok() && Stamp::Of(*stat) == file->captured;
}

}  // namespace

Status LiveFiles::SetTimesLocked(OpenFile& file, const InodeRecord& record, bool access,
                                 bool modify) {
  if (record.content == 0 || file.record.stored) return Status();  // the record alone knows
  RETURN_IF_ERROR(ReadyToReadLocked(file, record));
  const std::shared_ptr<File> stage = file.body()->stage();
  if (!stage) return Status();
  ASSIGN_OR_RETURN(const struct stat before, stage->Stat());
  struct timespec times[2] = {record.access_time, record.modify_time};
  if (!access) times[0].tv_nsec = UTIME_OMIT;
  if (!modify) times[1].tv_nsec = UTIME_OMIT;
  RETURN_IF_ERROR(stage->SetTimes(times));
  // Setting a time is no change of the content.
  if (!(Stamp::Of(before) == file.captured)) return Status();
  ASSIGN_OR_RETURN(const struct stat after, stage->Stat());
  file.captured = Stamp::Of(after);
  return Status();
}

Result<StatusFacts> LiveFiles::StatusLocked(InodeNumber inode, const InodeRecord& record) {
  StatusFacts facts;
  ContentRecord& content = facts.content;
  content.captured = content.stored = content.durable = true;  // as the empty one is
  facts.id = record.content;
  if (facts.id != 0) {
    ASSIGN_OR_RETURN(content, d_.tree.Content(facts.id));
    if (!content.captured && IsUnchanged(FindLocked(inode).get())) {
      // Open for writing and not written yet: it is still what it was.
      ASSIGN_OR_RETURN(const bool same, ShowsBase(facts.id, content, record.size_bytes));
      if (same) {
        facts.id = content.base;
        content = ContentRecord();
        content.captured = content.stored = content.durable = true;
        if (facts.id != 0) {
          ASSIGN_OR_RETURN(content, d_.tree.Content(facts.id));
        }
      }
    }
  }
  ASSIGN_OR_RETURN(facts.version, d_.history.NewestNumber(inode, record));
  return facts;
}

Status LiveFiles::CaptureAllLocked() {
  for (const auto& [inode, file] : files_) {
    Result<InodeRecord> record = d_.tree.Inode(inode);
    if (!record.ok() && record.status().os_errno() == ESTALE) continue;
    RETURN_IF_ERROR(record.status());
    RETURN_IF_ERROR(CaptureLocked(*file, &*record));
  }
  return Status();
}

Status LiveFiles::AppendSharedLocked(ContentId content, Batch* batch) {
  ASSIGN_OR_RETURN(ContentRecord record, d_.tree.Content(content));
  if (!record.captured || record.stored || record.shared) return Status();
  record.shared = true;
  PutPendingLocked(content, record, batch);
  return Status();
}

Status LiveFiles::AppendReplacingLocked(ContentId content, ContentId replaced, Batch* batch) {
  ASSIGN_OR_RETURN(ContentRecord record, d_.tree.Content(content));
  if (record.stored || record.falls_back_to() != 0) return Status();
  // What no version names goes with its inode.
  while (replaced != 0) {
    ASSIGN_OR_RETURN(const ContentRecord candidate, d_.tree.Content(replaced));
    if (candidate.captured) break;
    replaced = candidate.falls_back_to();
  }
  if (replaced == 0) return Status();
  (record.overlay ? record.replaced : record.base) = replaced;
  PutPendingLocked(content, record, batch);
  return Status();
}

void LiveFiles::PutPendingLocked(ContentId content, const ContentRecord& record, Batch* batch) {
  Tree::PutContent(content, record, batch);
  const std::shared_ptr<OpenFile> file = FindLocked(record.inode);
  if (file && file->content == content) file->record = record;
}

Status LiveFiles::MarkDurableLocked(ContentId content, StageId stage) {
  ASSIGN_OR_RETURN(const std::optional<std::string> row,
                   d_.tree.catalog().Get(key::Content(content)));
  if (!row) return Status();
  ASSIGN_OR_RETURN(ContentRecord record, ContentRecord::Decode(*row));
  if (record.durable || record.stage != stage) return Status();
  record.durable = true;
  Batch batch;
  Tree::PutContent(content, record, &batch);
  RETURN_IF_ERROR(d_.tree.Apply(batch));
  const std::shared_ptr<OpenFile> file = FindLocked(record.inode);
  if (file && file->content == content) file->record.durable = true;
  return Status();
}

LiveFiles::Flush LiveFiles::BeginFlushLocked(InodeNumber inode) {
  const std::shared_ptr<OpenFile> file = FindLocked(inode);
  if (!file || file->content == 0 || file->record.stored) return {};  // in packs already
  const std::shared_ptr<Body> body = file->body();
  if (!body || !body->stage()) return {};
  ++file->users;
  ++flushing_[file->content];
  return {file, body, file->content, file->record};
}

void LiveFiles::EndFlushLocked(const Flush& flush) {
  const auto it = flushing_.find(flush.content);
  if (--it->second == 0) flushing_.erase(it);
  if (--flush.file->users == 0) SettleLocked(*flush.file);
}

Status LiveFiles::FlushPending(ContentId content) {
  ContentRecord record;
  Flush flush;
  {
    MutexLock lock(d_.tree.mutex());
    const Result<ContentRecord> now = d_.tree.Content(content);
    if (!now.ok() || now->stored || now->stage == 0) return Status();
    record = *now;
    const std::shared_ptr<OpenFile> file = FindLocked(record.inode);
    if (file && file->content == content) flush = BeginFlushLocked(record.inode);
  }
  if (flush.body) {
    const Status flushed = flush.body->Sync();
    MutexLock lock(d_.tree.mutex());
    EndFlushLocked(flush);
    return flushed;
  }
  const Result<std::shared_ptr<File>> stage = d_.stages.Open(record.stage, OpenMode::kRead);
  if (!stage.ok()) return Status();  // stored meanwhile
  ASSIGN_OR_RETURN(const struct stat before, (*stage)->Stat());
  RETURN_IF_ERROR((*stage)->SyncData());
  if (!record.overlay) return Status();
  MutexLock lock(d_.tree.mutex());
  ASSIGN_OR_RETURN(record, d_.tree.Content(content));
  if (record.stored) return Status();
  ASSIGN_OR_RETURN(const struct stat after, (*stage)->Stat());
  const std::shared_ptr<OpenFile> file = FindLocked(record.inode);
  if ((file && file->content == content) || !(Stamp::Of(before) == Stamp::Of(after)))
    return Status(Code::kBusy);
  OverlayExtents extents;
  uint64_t base_shown = 0;
  RETURN_IF_ERROR(LoadExtents(d_.tree.catalog(), content, &extents, &base_shown));
  if (extents.settled()) return Status();
  Batch batch;
  extents.Settled(content, &batch);
  return d_.tree.Apply(batch);
}

void LiveFiles::TrimHotLocked(HotCache* hot) {
  for (size_t tries = hot->files(); tries > 0; --tries) {
    const ContentId content = hot->Excess();
    if (content == 0) return;
    Result<ContentRecord> record = d_.tree.Content(content);
    if (!record.ok() || !record->stored || record->stage == 0) {
      hot->Remove(content);  // it is hot no more
      continue;
    }
    const std::shared_ptr<OpenFile> file = FindLocked(record->inode);
    if (file && file->content == content) {
      hot->Postpone(content);
      continue;
    }
    Batch batch;
    batch.Delete(key::Stage(record->stage));
    const StageId stage = record->stage;
    record->stage = 0;
    Tree::PutContent(content, *record, &batch);
    if (!d_.tree.Apply(batch).ok()) return;
    d_.stages.Remove(stage);
    hot->Remove(content);
  }
}

}  // namespace varve
