// The bytes behind a live file, wherever they are at the moment.
//
//   StagedBody    all bytes are in a staging file
//   OverlayBody   changed ranges are in a staging file, the rest shows a stored base
//   StoredBody    all bytes are in packs; read-only
//
// An open file has one body at a time. Giving the file other content means giving
// it another body; readers that still hold the old one see the old bytes.
//
// Threads: all methods may be called concurrently; overlays lock themselves.
// Errors:  as File's; kNoSpace from a write changes nothing but may leave a hole
//          at the end.
#pragma once

#include <sys/stat.h>

#include <memory>

#include "fs/core/content_store.h"
#include "fs/core/node_ops.h"
#include "fs/core/overlay_extents.h"
#include "fs/core/records.h"
#include "store/base/disk.h"
#include "store/base/mutex.h"

namespace varve {

class Body {
 public:
  virtual ~Body() = default;
  virtual Result<ReadReply> Read(uint64_t offset, size_t size) = 0;
  virtual Result<uint64_t> SizeBytes() = 0;
  virtual Result<uint64_t> Seek(uint64_t offset, int whence) = 0;

  // The staging file behind it, or null. Its times are the file's while it is written.
  virtual std::shared_ptr<File> stage() const { return nullptr; }
  // True when the staging file holds every byte, so the kernel may pass through to it.
  virtual bool whole_stage() const { return false; }

  virtual Status Write(uint64_t offset, ByteView bytes);
  // At the end of the file as it is then, for O_APPEND.
  virtual Status Append(ByteView bytes);
  virtual Status Truncate(uint64_t size);
  virtual Status Allocate(int mode, uint64_t offset, uint64_t size);
  // All bytes survive a power cut, once the log does, if the staging file's name does.
  virtual Status Sync();
};

class StagedBody final : public Body {
 public:
  explicit StagedBody(std::shared_ptr<File> stage) : stage_(std::move(stage)) {}

  Result<ReadReply> Read(uint64_t offset, size_t size) override;
  Result<uint64_t> SizeBytes() override;
  Result<uint64_t> Seek(uint64_t offset, int whence) override;
  std::shared_ptr<File> stage() const override { return stage_; }
  bool whole_stage() const override { return true; }
  Status Write(uint64_t offset, ByteView bytes) override;
  Status Append(ByteView bytes) override;
  Status Truncate(uint64_t size) override;
  Status Allocate(int mode, uint64_t offset, uint64_t size) override;

 private:
  const std::shared_ptr<File> stage_;
  Mutex append_mutex_;
};

class StoredBody final : public Body {
 public:
  explicit StoredBody(std::shared_ptr<ContentReader> reader) : reader_(std::move(reader)) {}

  Result<ReadReply> Read(uint64_t offset, size_t size) override {
    return reader_->Read(offset, size);
  }
  Result<uint64_t> SizeBytes() override { return reader_->size_bytes(); }
  Result<uint64_t> Seek(uint64_t offset, int whence) override {
    return reader_->Seek(offset, whence);
  }

 private:
  const std::shared_ptr<ContentReader> reader_;
};

// Where an overlay keeps what it must not forget: the index.
class OverlayLog {
 public:
  virtual ~OverlayLog() = default;
  virtual Status Log(const Batch& batch) = 0;
};

class OverlayBody final : public Body {
 public:
  struct Parts {
    ContentId content = 0;
    std::shared_ptr<File> stage;  // as long as the file is, with holes where the base shows
    ContentId base = 0;
    std::shared_ptr<ContentReader> base_reader;
    uint64_t base_shown_bytes = 0;  // of the base, from its start
    OverlayExtents extents;
  };
  OverlayBody(Parts parts, OverlayLog& log) : log_(log), parts_(std::move(parts)) {}

  Result<ReadReply> Read(uint64_t offset, size_t size) override;
  Result<uint64_t> SizeBytes() override;
  Result<uint64_t> Seek(uint64_t offset, int whence) override;
  std::shared_ptr<File> stage() const override { return stage_; }
  Status Write(uint64_t offset, ByteView bytes) override;
  Status Append(ByteView bytes) override;
  Status Truncate(uint64_t size) override;
  Status Allocate(int mode, uint64_t offset, uint64_t size) override;
  Status Sync() override;

  // All of `out`, zeros beyond the end.
  Status ReadInto(uint64_t offset, MutableBytes out);
  // The base shows up to `range.end`, too. REQUIRES: it ends at range.begin, and so does
  // the file. Returns range.end; 0 where that is not so.
  Result<uint64_t> ShowMore(ByteRange range);
  // What differs from the base, for digesting.
  DigestBase Difference();
  bool Changed();

 private:
  Status WriteLocked(uint64_t offset, ByteView bytes) REQUIRES(mutex_);
  Status AddLocked(ByteRange range) REQUIRES(mutex_);
  Status ReadLocked(uint64_t offset, MutableBytes out) REQUIRES_SHARED(mutex_);

  OverlayLog& log_;
  mutable SharedMutex mutex_;
  Parts parts_ GUARDED_BY(mutex_);
  const std::shared_ptr<File> stage_ = parts_.stage;
};

}  // namespace varve
