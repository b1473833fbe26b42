// What captures of directories ask of files that are being written.
//
// A captured directory has to show such a file as it was at that instant, and for ever;
// the staging file goes on. So a copy of it is taken (a reflink where the disk has them),
// without the lock, and used only if the file stood still until the capture: with the
// kernel's passthrough nothing can hold writers back.

#include "fs/core/live_files.h"
#include "store/base/log.h"

namespace varve {

namespace {

// What was closed and not released yet will hardly change: larger, it is not copied.
constexpr uint64_t kClosedCopyBytesMax = uint64_t{16} << 20;

// With passthrough, or through a descriptor that was duplicated, a writer may go on after
// its FLUSH, but usually RELEASE follows: what was captured counts as closed.
bool IsClosed(const OpenFile& file) {
  if (file.writers == 0) return true;
  if (file.unclosed > 0) return false;
  const std::shared_ptr<Body> body = file.body();
  if (!body || !body->stage()) return false;
  const Result<struct stat> stat = body->stage()->Stat();
  return stat.ok() && Stamp::Of(*stat) == file.captured;
}

}  // namespace

std::vector<InodeNumber> LiveFiles::UnsettledLocked() {
  std::vector<InodeNumber> found;
  for (const auto& [inode, file] : files_) {
    if (file->content == 0 || file->record.stored) continue;
    if (!file->record.captured || !IsClosed(*file)) found.push_back(inode);
  }
  for (auto it = left_.begin(); it != left_.end();) {
    const bool open = files_.contains(*it);
    const Result<InodeRecord> record = d_.tree.Inode(*it);
    const Result<ContentRecord> content =
        record.ok() ? d_.tree.Content(record->content) : Result<ContentRecord>(record.status());
    if (!open && content.ok() && !content->captured && !content->stored) {
      found.push_back(*it++);
    } else {
      it = left_.erase(it);  // settled since, gone, or open again
    }
  }
  return found;
}

std::vector<LiveFiles::Copied> LiveFiles::CopyWritten(
    const std::function<bool(InodeNumber, uint64_t bytes)>& wanted) {
  struct Source {
    Copied copied;
    StageId stage = 0;
    std::shared_ptr<File> file;
  };
  std::vector<Copied> copies;
  std::vector<Source> sources;
  {
    MutexLock lock(d_.tree.mutex());
    for (const auto& [inode, file] : files_) {
      // An overlay waits for its close: its base is what it was.
      if (file->writers == 0 || file->content == 0 || file->record.stored || file->record.overlay)
        continue;
      const std::shared_ptr<Body> body = file->body();
      if (!body || !body->stage()) continue;
      const Result<struct stat> stat = body->stage()->Stat();
      if (!stat.ok()) continue;
      Copied copied{inode, file->content, Stamp::Of(*stat), 0, 0, false};
      // Opened, and not written yet: it is what it was.
      if (copied.stamp == file->captured && !file->record.captured) continue;
      const auto bytes = static_cast<uint64_t>(stat->st_size);
      if (bytes > kClosedCopyBytesMax && IsClosed(*file)) continue;
      if (!wanted(inode, bytes)) continue;
      if (file->copy != 0 && copied.stamp == file->copied) {
        copied.content = file->copy;
        copies.push_back(copied);
      } else {
        sources.push_back({copied, file->record.stage, body->stage()});
      }
    }
  }
  for (Source& source : sources) {
    const Result<StageId> copy = CopyStage(source.stage);
    if (!copy.ok()) {
      LogWarning("what is being written is captured as it was: {}", copy.status().ToString());
      continue;
    }
    source.copied.stage = source.copied.content = *copy;  // one counter gives both numbers
    source.copied.fresh = true;
    const Result<struct stat> after = source.file->Stat();
    if (after.ok() && Stamp::Of(*after) == source.copied.stamp) {
      copies.push_back(source.copied);
    } else {
      DropCopy(source.copied);
    }
  }
  return copies;
}

bool LiveFiles::IsCurrentLocked(const Copied& copied) const {
  const std::shared_ptr<OpenFile> file = FindLocked(copied.inode);
  if (!file || file->writers == 0 || file->content != copied.source || file->record.stored)
    return false;  // closed meanwhile: its close has captured it
  const std::shared_ptr<Body> body = file->body();
  if (!body || !body->stage()) return false;
  const Result<struct stat> stat = body->stage()->Stat();
  return stat.ok() && Stamp::Of(*stat) == copied.stamp;
}

void LiveFiles::AppendCopyLocked(const Copied& copied, InodeRecord* record, Batch* batch) {
  record->content = copied.content;
  record->size_bytes = static_cast<uint64_t>(copied.stamp.size_bytes);
  record->modify_time = copied.stamp.modify_time;
  if (!copied.fresh) return;
  ContentRecord content;
  content.captured = true;
  content.stage = copied.stage;
  content.size_bytes = record->size_bytes;
  content.inode = copied.inode;
  Tree::PutContent(copied.content, content, batch);
  Tree::PutStageOwner(copied.stage, copied.content, batch);
}

void LiveFiles::KeepCopyLocked(const Copied& copied) {
  if (!copied.fresh) return;
  if (const std::shared_ptr<OpenFile> file = FindLocked(copied.inode)) {
    file->copied = copied.stamp;
    file->copy = copied.content;
  }
  if (queue_ != nullptr) queue_->Enqueue(copied.content);
}

}  // namespace varve
