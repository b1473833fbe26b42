#include "fs/core/live_files.h"

#include <algorithm>

#include "store/base/log.h"

namespace varve {
namespace {

// A regular file without a content: it was never written.
class EmptyBody final : public Body {
 public:
  Result<ReadReply> Read(uint64_t, size_t) override { return ReadReply::Of({}); }
  Result<uint64_t> SizeBytes() override { return uint64_t{0}; }
  Result<uint64_t> Seek(uint64_t, int) override { return Status::Errno(ENXIO); }
};

}  // namespace

Result<LiveFiles::Fresh> LiveFiles::NewContent(InodeNumber inode, ContentId base, Batch* batch) {
  Fresh fresh;
  ASSIGN_OR_RETURN(fresh.content, d_.tree.NewId());
  fresh.record.stage = fresh.content;
  ASSIGN_OR_RETURN(fresh.stage, d_.stages.Create(fresh.record.stage));
  fresh.record.inode = inode;
  fresh.record.base = base;
  Tree::PutContent(fresh.content, fresh.record, batch);
  Tree::PutStageOwner(fresh.record.stage, fresh.content, batch);
  return fresh;
}

std::shared_ptr<OpenFile> LiveFiles::AdoptLocked(InodeNumber inode, Fresh fresh) {
  auto file = std::make_shared<OpenFile>(inode);
  file->content = fresh.content;
  file->record = fresh.record;
  const Result<struct stat> stat = fresh.stage->Stat();
  if (stat.ok()) file->captured = Stamp::Of(*stat);
  file->SetBody(std::make_shared<StagedBody>(std::move(fresh.stage)));
  file->users = 1;
  file->used = true;
  files_[inode] = file;
  return file;
}

std::shared_ptr<OpenFile> LiveFiles::FindLocked(InodeNumber inode) const {
  const auto it = files_.find(inode);
  return it == files_.end() ? nullptr : it->second;
}

std::vector<std::shared_ptr<OpenFile>> LiveFiles::AllLocked() const {
  std::vector<std::shared_ptr<OpenFile>> all;
  all.reserve(files_.size());
  for (const auto& [inode, file] : files_) all.push_back(file);
  return all;
}

Result<std::shared_ptr<OpenFile>> LiveFiles::UseLocked(InodeNumber inode, InodeRecord* record) {
  std::shared_ptr<OpenFile>& slot = files_[inode];
  if (!slot) slot = std::make_shared<OpenFile>(inode);
  std::shared_ptr<OpenFile> file = slot;
  ++file->users;
  while (file->used) changed_.Wait(d_.tree.mutex());
  file->used = true;
  const Status loaded = [&]() -> Status {
    ASSIGN_OR_RETURN(*record, d_.tree.Inode(inode));
    return LoadLocked(*file, *record);
  }();
  if (loaded.ok()) return file;
  DoneLocked(file);
  return loaded;
}

Status LiveFiles::LoadLocked(OpenFile& file, const InodeRecord& record) {
  if (file.body() || file.content != 0) return Status();
  file.content = record.content;
  ASSIGN_OR_RETURN(const std::optional<std::string> capability,
                   d_.tree.catalog().Get(key::Xattr(file.inode, "security.capability")));
  file.capability = capability.has_value();
  if (file.content == 0) return Status();
  return LoadRecordLocked(file);
}

void LiveFiles::DoneLocked(const std::shared_ptr<OpenFile>& file) {
  CHECK(file->users > 0);
  file->used = false;
  changed_.NotifyAll();
  if (--file->users == 0) SettleLocked(*file);
}

// Nobody works on the file: gives back what only its users needed.
void LiveFiles::SettleLocked(OpenFile& file) {
  if (file.users > 0 || file.writers > 0) return;
  if (file.content != 0 && file.record.captured && !file.record.stored && queue_ != nullptr)
    queue_->Enqueue(file.content);
  if (file.handles > 0) {
    // Readers are left. The digester's lease needs our own descriptor read-only.
    const std::shared_ptr<Body> body = file.body();
    if (body && body->whole_stage()) {
      const Status reopened = OpenStageLocked(file, OpenMode::kRead);
      if (!reopened.ok()) LogWarning("cannot reopen a staging file: {}", reopened.ToString());
    }
    return;
  }
  DropBackingLocked(file);
  file.SetBody(nullptr);
  if (file.content != 0 && !file.record.captured && !file.record.stored) left_.insert(file.inode);
  files_.erase(file.inode);
}

void LiveFiles::DropBackingLocked(OpenFile& file) {
  if (file.backing_id > 0) d_.kernel.UnregisterBacking(file.backing_id);
  file.backing_id = 0;
}

Status LiveFiles::OpenStageLocked(OpenFile& file, OpenMode mode) {
  ASSIGN_OR_RETURN(std::shared_ptr<File> stage, d_.stages.Open(file.record.stage, mode));
  file.SetBody(std::make_shared<StagedBody>(std::move(stage)));
  return Status();
}

Status LiveFiles::ReadyToReadLocked(OpenFile& file, const InodeRecord& record) {
  if (file.body()) return Status();
  if (file.content == 0) {
    file.SetBody(std::make_shared<EmptyBody>());
  } else if (file.record.stage != 0 && !file.record.overlay) {
    RETURN_IF_ERROR(OpenStageLocked(file, OpenMode::kRead));
  } else if (file.record.stored) {
    ASSIGN_OR_RETURN(auto reader,
                     OpenContent(file.content, record.size_bytes, d_.tree.PathOf(file.inode)));
    file.SetBody(std::make_shared<StoredBody>(std::move(reader)));
  } else {
    ASSIGN_OR_RETURN(auto overlay, OpenOverlay(file.content, file.record, OpenMode::kReadWrite));
    file.SetBody(std::move(overlay));
  }
  if (file.content != 0 && !file.record.stored) {
    // Pending: what the staging file is like now is what was captured.
    if (const std::shared_ptr<File> stage = file.body()->stage()) {
      ASSIGN_OR_RETURN(const struct stat stat, stage->Stat());
      file.captured = Stamp::Of(stat);
    }
  }
  return Status();
}

Status LiveFiles::ReadyToWriteLocked(OpenFile& file, InodeRecord* record) {
  if (file.content == 0) return BeginFreshLocked(file, record);
  RETURN_IF_ERROR(LoadRecordLocked(file));
  if (file.foreign) return BeginOwnLocked(file, record);
  if (file.record.stored) {
    return file.record.stage != 0 ? BeginHotLocked(file, record) : BeginOverlayLocked(file, record);
  }
  RETURN_IF_ERROR(ShareCapturedLocked(file));
  if (file.record.captured && file.record.shared && file.writers == 0) {
    queue_->StoreNowLocked(file.content);
    ASSIGN_OR_RETURN(*record, d_.tree.Inode(file.inode));
    if (file.record.stored) return ReadyToWriteLocked(file, record);
    return BeginCopyLocked(file, record);
  }
  if (file.record.captured) {
    // Pending, and now continued in place: the digest gives way.
    const bool shared = file.record.shared;
    if (queue_ != nullptr) queue_->CancelLocked(file.content);
    ASSIGN_OR_RETURN(*record, d_.tree.Inode(file.inode));
    // The digest was faster, or a rename.
    if (file.record.stored || file.record.shared != shared) return ReadyToWriteLocked(file, record);
  }
  if (file.writers > 0 && file.body()) return Status();
  RETURN_IF_ERROR(ReadyToReadLocked(file, *record));
  if (file.record.overlay) return Status();
  return OpenStageLocked(file, OpenMode::kReadWrite);
}

Status LiveFiles::BeginFreshLocked(OpenFile& file, InodeRecord* record) {
  Batch batch;
  ASSIGN_OR_RETURN(Fresh fresh, NewContent(file.inode, file.content, &batch));
  record->content = fresh.content;
  record->size_bytes = record->hole_bytes = 0;
  Tree::PutInode(file.inode, *record, &batch);
  ASSIGN_OR_RETURN(const struct stat stat, fresh.stage->Stat());
  RETURN_IF_ERROR(d_.tree.Apply(batch));
  file.content = fresh.content;
  file.record = fresh.record;
  file.foreign = file.begun = false;
  file.captured = Stamp::Of(stat);
  file.SetBody(std::make_shared<StagedBody>(std::move(fresh.stage)));
  return Status();
}

// A directory version names a pending content: it goes on no more.
Status LiveFiles::ShareCapturedLocked(OpenFile& file) {
  if (!file.record.captured || file.record.shared || file.writers > 0) return Status();
  ASSIGN_OR_RETURN(const bool named, d_.tree.IsCaptured(file.inode, file.content));
  if (!named) return Status();
  Batch batch;
  RETURN_IF_ERROR(AppendSharedLocked(file.content, &batch));
  return d_.tree.Apply(batch);
}

// The hot copy becomes a new live content; what it was is safe in packs.
Status LiveFiles::BeginHotLocked(OpenFile& file, InodeRecord* record) {
  RETURN_IF_ERROR(SyncStoredRowsLocked(file, record));
  if (file.record.stage == 0) return BeginOverlayLocked(file, record);
  ContentRecord left = file.record;
  left.stage = 0;
  return TakeOverStageLocked(file, left, record);
}

// A staging file that was synced is believed after a power cut until the rows are durable
// that say that its content is stored. So they are before it changes.
// The flush does without the mutex.
Status LiveFiles::SyncStoredRowsLocked(OpenFile& file, InodeRecord* record) {
  Catalog& catalog = d_.tree.catalog();
  if (catalog.Stats().synced_sequence >= stored_sequence_) return Status();
  d_.tree.mutex().Unlock();
  const Status synced = catalog.SyncLog();
  d_.tree.mutex().Lock();
  RETURN_IF_ERROR(synced);
  ASSIGN_OR_RETURN(*record, d_.tree.Inode(file.inode));
  ASSIGN_OR_RETURN(file.record, d_.tree.Content(file.content));
  return Status();
}

// The pending content keeps what it is in a copy; the file goes on with the original,
// which somebody may have open.
Status LiveFiles::BeginCopyLocked(OpenFile& file, InodeRecord* record) {
  const ContentId old_content = file.content;
  ASSIGN_OR_RETURN(const StageId copy, CopyAsideLocked(file, record));
  if (file.record.stored) {  // meanwhile
    d_.stages.Remove(copy);
    return ReadyToWriteLocked(file, record);
  }
  ContentRecord left = file.record;
  left.stage = copy;
  RETURN_IF_ERROR(left.overlay ? TakeOverOverlayLocked(file, left, record)
                               : TakeOverStageLocked(file, left, record));
  // What was durable before has to stay so: the row that names the copy goes first.
  if (left.durable) RETURN_IF_ERROR(d_.tree.catalog().SyncLog());
  queue_->Enqueue(old_content);
  return Status();
}

// A new live content gets the staging file of the present one.
Status LiveFiles::TakeOverStageLocked(OpenFile& file, const ContentRecord& left,
                                      InodeRecord* record) {
  ContentRecord taken;
  taken.stage = file.record.stage;
  taken.base = file.content;
  taken.inode = file.inode;
  ASSIGN_OR_RETURN(const ContentId content, d_.tree.NewId());
  ASSIGN_OR_RETURN(std::shared_ptr<File> stage, d_.stages.Open(taken.stage, OpenMode::kReadWrite));
  ASSIGN_OR_RETURN(const struct stat stat, stage->Stat());
  Batch batch;
  Tree::PutContent(file.content, left, &batch);
  if (left.stage != 0) Tree::PutStageOwner(left.stage, file.content, &batch);
  Tree::PutContent(content, taken, &batch);
  Tree::PutStageOwner(taken.stage, content, &batch);
  record->content = content;
  Tree::PutInode(file.inode, *record, &batch);
  RETURN_IF_ERROR(d_.tree.Apply(batch));
  file.content = content;
  file.record = taken;
  file.begun = true;
  file.captured = Stamp::Of(stat);
  file.SetBody(std::make_shared<StagedBody>(std::move(stage)));
  return Status();
}

Status LiveFiles::DropContentLocked(InodeNumber inode, ContentId content, Batch* batch,
                                    std::vector<StageId>* dropped) {
  if (content == 0) return Status();
  ASSIGN_OR_RETURN(ContentRecord record, d_.tree.Content(content));
  if (record.inode != inode) return Status();
  if (record.captured) {
    // Versions name it. A hot copy of what nobody opens by its path is not worth its room.
    if (record.stored && record.stage != 0) {
      batch->Delete(key::Stage(record.stage));
      dropped->push_back(record.stage);
      record.stage = 0;
      Tree::PutContent(content, record, batch);
    } else if (!record.stored && queue_ != nullptr) {
      queue_->Enqueue(content);
    }
    return Status();
  }
  batch->Delete(key::Content(content));
  batch->Delete(key::Stage(record.stage));
  dropped->push_back(record.stage);
  if (!record.overlay) return Status();
  const key::Range range = key::AllExtents(content);
  return d_.tree.catalog().Scan(range.begin, range.end,
                                [&](std::string_view row_key, std::string_view) {
                                  batch->Delete(std::string(row_key));
                                  return true;
                                });
}

}  // namespace varve
