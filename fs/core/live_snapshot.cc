// Files that stay open: captured at fsync, at most once a minute.
//
// A digest of the staging file itself would see it change, and the kernel's
// passthrough leaves no way to hold writers back; so the version is a copy of the
// staging file (a reflink where the disk has them), and is taken only if the file
// did not change meanwhile.

#include "fs/core/live_files.h"
#include "store/base/log.h"

namespace varve {
namespace {

constexpr int64_t kSnapshotIntervalNs = int64_t{60} * 1'000'000'000;

}  // namespace

void LiveFiles::WantSnapshotLocked(OpenFile& file, int64_t now_ns) {
  if (file.writers == 0 || now_ns - file.snapshot_ns < kSnapshotIntervalNs) return;
  file.snapshot_ns = now_ns;
  snapshots_.insert(file.inode);
}

void LiveFiles::TakeSnapshots() {
  std::set<InodeNumber> wanted;
  {
    MutexLock lock(d_.tree.mutex());
    wanted.swap(snapshots_);
  }
  for (const InodeNumber inode : wanted) {
    const Status taken = TakeSnapshot(inode);
    if (taken.ok()) continue;
    if (taken.code() != Code::kBusy) {
      LogWarning("an open file was not captured at fsync: {}", taken.ToString());
      continue;
    }
    MutexLock lock(d_.tree.mutex());
    snapshots_.insert(inode);
  }
}

Status LiveFiles::TakeSnapshot(InodeNumber inode) {
  std::shared_ptr<File> stage;
  StageId source = 0;
  {
    MutexLock lock(d_.tree.mutex());
    const std::shared_ptr<OpenFile> file = FindLocked(inode);
    // Closed meanwhile: its close has captured it. An overlay waits for its close.
    if (!file || file->writers == 0 || file->record.stored || file->record.overlay) return Status();
    const std::shared_ptr<Body> body = file->body();
    if (!body || !body->stage()) return Status();
    stage = body->stage();
    source = file->record.stage;
  }
  ASSIGN_OR_RETURN(const struct stat before, stage->Stat());
  ASSIGN_OR_RETURN(const StageId copy, CopyStage(source));
  ASSIGN_OR_RETURN(const struct stat after, stage->Stat());
  if (!(Stamp::Of(before) == Stamp::Of(after))) {
    d_.stages.Remove(copy);
    return Status(Code::kBusy);
  }
  MutexLock lock(d_.tree.mutex());
  const Status captured = [&]() -> Status {
    ASSIGN_OR_RETURN(InodeRecord record, d_.tree.Inode(inode));
    ASSIGN_OR_RETURN(const ContentId content, d_.tree.NewId());
    record.size_bytes = static_cast<uint64_t>(after.st_size);
    record.modify_time = after.st_mtim;
    ContentRecord snapshot;
    snapshot.captured = true;
    snapshot.stage = copy;
    snapshot.size_bytes = record.size_bytes;
    snapshot.inode = inode;
    Batch batch;
    // An earlier version that lists what is open now ends here: it is not the newest.
    const std::shared_ptr<OpenFile> file = FindLocked(inode);
    if (file && file->content != 0) RETURN_IF_ERROR(AppendSharedLocked(file->content, &batch));
    Tree::PutContent(content, snapshot, &batch);
    Tree::PutStageOwner(copy, content, &batch);
    RETURN_IF_ERROR(d_.history.Capture(inode, record, content, &batch));
    RETURN_IF_ERROR(d_.tree.Apply(batch));
    if (queue_ != nullptr) queue_->Enqueue(content);
    return Status();
  }();
  if (!captured.ok()) d_.stages.Remove(copy);
  return captured;
}

}  // namespace varve
