// A live file that somebody has open, or that an operation is working on.
//
// Threads: all members are guarded by Tree::mutex(), except that body() may be
//          called without it, to move bytes.
#pragma once

#include <ctime>
#include <memory>
#include <utility>

#include "fs/core/body.h"
#include "fs/core/keys.h"
#include "fs/core/records.h"
#include "store/base/mutex.h"

namespace varve {

// How the kernel does the I/O of an inode. While the inode is open there is one
// mode: opens that differ would get EIO from the kernel (see io_mode.h).
enum class IoMode { kUndecided, kPassthrough, kDaemon };

// Tells whether a staging file was changed. A store through a mapping and a write
// that the kernel passed through show only here.
struct Stamp {
  int64_t size_bytes = -1;
  struct timespec modify_time {};
  struct timespec change_time {};

  static Stamp Of(const struct stat& stat) { return {stat.st_size, stat.st_mtim, stat.st_ctim}; }
  bool operator==(const Stamp& other) const {
    return size_bytes == other.size_bytes && Same(modify_time, other.modify_time) &&
           Same(change_time, other.change_time);
  }

 private:
  static bool Same(const struct timespec& a, const struct timespec& b) {
    return a.tv_sec == b.tv_sec && a.tv_nsec == b.tv_nsec;
  }
};

struct OpenFile {
  explicit OpenFile(InodeNumber number) : inode(number) {}

  const InodeNumber inode;
  unsigned handles = 0;
  unsigned writers = 0;
  unsigned unclosed = 0;    // writers that no FLUSH has come for
  unsigned users = 0;       // operations and flushes that work on it now
  bool used = false;        // by one of them; the others wait for their turn
  bool capability = false;  // it has a security.capability, to be cleared by writes

  IoMode mode = IoMode::kUndecided;
  int32_t backing_id = 0;

  // The content, as its row in the index says.
  ContentId content = 0;
  ContentRecord record;
  // It is another inode's, which a clone shows: here it counts as stored without a hot copy.
  bool foreign = false;
  // It began since this was loaded, with the bytes of what it was changed from; so `captured`
  // tells whether they were changed.
  bool begun = false;
  // The staging file as it was when the content was captured last.
  Stamp captured;
  // The staging file when set-id bits were last set, see LiveFiles::Attributes.
  Stamp privileged;
  // The newest copy that a captured directory shows, and what it is a copy of.
  Stamp copied;
  ContentId copy = 0;
  // When it was opened for writing, or an fsync last captured it while it stayed open.
  int64_t snapshot_ns = 0;

  std::shared_ptr<Body> body() const {
    MutexLock lock(body_mutex_);
    return body_;
  }
  void SetBody(std::shared_ptr<Body> body) {
    MutexLock lock(body_mutex_);
    body_ = std::move(body);
  }

 private:
  mutable Mutex body_mutex_;
  std::shared_ptr<Body> body_ GUARDED_BY(body_mutex_);
};

struct OpenRequest {
  int flags = 0;  // open(2)'s
  pid_t pid = 0;
};

// What the kernel's file handle stands for.
struct FileHandle {
  std::shared_ptr<OpenFile> file;
  OpenRequest request;
  bool writable = false;
  bool flushed = false;  // a descriptor of it was closed
};

}  // namespace varve
