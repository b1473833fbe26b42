// Readers of contents that may wait for their digest: for versions, captured trees and
// clones.

#include <unistd.h>

#include <algorithm>

#include "fs/core/live_files.h"

namespace varve {
namespace {

// A captured content that still lies in a staging file. The file may go over to the next
// content of its inode and be written then, or lose what a stored piece has (piece_store.h);
// but first the row says that it is this one's no more, or what the content lies upon now. So what
// was read is asked for after it was read, and read elsewhere if need be.
class PendingReader final : public ContentReader {
 public:
  struct Source {
    ContentId content = 0;
    StageId stage = 0;
    bool overlay = false;
    ContentId base = 0;
    std::shared_ptr<Body> body;
  };
  PendingReader(Source source, uint64_t size_bytes, Tree& tree,
                std::function<Result<std::shared_ptr<ContentReader>>()> reopen)
      : source_(std::move(source)),
        size_bytes_(size_bytes),
        tree_(tree),
        reopen_(std::move(reopen)) {}

  Result<ReadReply> Read(uint64_t offset, size_t size) override {
    if (offset >= size_bytes_) return ReadReply::Of({});
    size = static_cast<size_t>(std::min<uint64_t>(size, size_bytes_ - offset));
    if (const std::shared_ptr<ContentReader> next = Next()) return next->Read(offset, size);
    ASSIGN_OR_RETURN(ReadReply reply, source_.body->Read(offset, size));
    if (reply.descriptor >= 0) {
      // Its bytes would be taken later than we can tell whose they are.
      std::string bytes(reply.size, '\0');
      ASSIGN_OR_RETURN(const size_t got,
                       source_.body->stage()->ReadAt(
                           reply.offset, {reinterpret_cast<uint8_t*>(bytes.data()), bytes.size()}));
      bytes.resize(got);
      reply = ReadReply::Of(std::move(bytes));
    }
    ASSIGN_OR_RETURN(const std::shared_ptr<ContentReader> next, NextIfLeft());
    return next ? next->Read(offset, size) : Result<ReadReply>(std::move(reply));
  }

  uint64_t size_bytes() const override { return size_bytes_; }

  Result<uint64_t> Seek(uint64_t offset, int whence) override {
    if (offset >= size_bytes_) return Status::Errno(ENXIO);
    if (const std::shared_ptr<ContentReader> next = Next()) return next->Seek(offset, whence);
    const Result<uint64_t> found = source_.body->Seek(offset, whence);
    ASSIGN_OR_RETURN(const std::shared_ptr<ContentReader> next, NextIfLeft());
    if (next) return next->Seek(offset, whence);
    if (!found.ok() || *found < size_bytes_) return found;
    if (whence == SEEK_HOLE) return size_bytes_;
    return Status::Errno(ENXIO);
  }

 private:
  std::shared_ptr<ContentReader> Next() const {
    MutexLock lock(mutex_);
    return next_;
  }

  // Another reader once the staging file does not show the content any more.
  Result<std::shared_ptr<ContentReader>> NextIfLeft() {
    ASSIGN_OR_RETURN(const ContentRecord now, tree_.Content(source_.content));
    if (now.stage == source_.stage && now.overlay == source_.overlay && now.base == source_.base)
      return std::shared_ptr<ContentReader>();
    ASSIGN_OR_RETURN(std::shared_ptr<ContentReader> next, reopen_());
    MutexLock lock(mutex_);
    next_ = next;
    return next;
  }

  const Source source_;
  const uint64_t size_bytes_;
  Tree& tree_;
  const std::function<Result<std::shared_ptr<ContentReader>>()> reopen_;

  mutable Mutex mutex_;
  std::shared_ptr<ContentReader> next_ GUARDED_BY(mutex_);
};

}  // namespace

Result<std::shared_ptr<ContentReader>> LiveFiles::OpenContent(ContentId content,
                                                              uint64_t size_bytes,
                                                              std::string path) {
  ASSIGN_OR_RETURN(const ContentRecord record, d_.tree.Content(content));
  if (record.purged) return Status::Errno(ENODATA, path + " was purged");
  if (!record.stored) {
    Result<std::shared_ptr<ContentReader>> pending =
        OpenPendingReader(content, record, size_bytes, path);
    if (pending.ok()) return pending;
    // Was it stored, and its staging file removed, in between?
    ASSIGN_OR_RETURN(const ContentRecord now, d_.tree.Content(content));
    if (!now.stored) return pending.status();
  }
  ASSIGN_OR_RETURN(std::shared_ptr<ContentReader> reader,
                   d_.contents.OpenReader(content, size_bytes, std::move(path)));
  // A collection leaves alone what is read, but may have come before.
  RETURN_IF_ERROR(d_.tree.Content(content).status());
  return reader;
}

Result<std::shared_ptr<ContentReader>> LiveFiles::OpenPendingReader(ContentId content,
                                                                    const ContentRecord& record,
                                                                    uint64_t size_bytes,
                                                                    const std::string& path) {
  PendingReader::Source source{content, record.stage, record.overlay, record.base, nullptr};
  if (record.overlay) {
    ASSIGN_OR_RETURN(source.body, OpenOverlay(content, record, OpenMode::kRead));
  } else {
    ASSIGN_OR_RETURN(std::shared_ptr<File> stage, d_.stages.Open(record.stage, OpenMode::kRead));
    source.body = std::make_shared<StagedBody>(std::move(stage));
  }
  return std::shared_ptr<ContentReader>(std::make_shared<PendingReader>(
      std::move(source), size_bytes, d_.tree,
      [this, content, size_bytes, path] { return OpenContent(content, size_bytes, path); }));
}

}  // namespace varve
