// Captures directories: when they were quiet for a moment, or have been changing for
// too long, and when somebody asks for it.
//
// A capture ends a moment (saved_rows.h) and gives each of the directories a version
// that names it, in one batch; no file is touched, however large the tree is, but those
// that are being written. Such a one is shown as it was at that instant, by a copy; or,
// when it does not stand still or is large, as its newest version.
//
// Threads: methods that end in Locked need Tree::mutex(); the others take it.
// Errors:  those of the catalog; a batch that fails captures nothing.
// Format:  docs/SEMANTICS.md, "Directory history".
#pragma once

#include <functional>
#include <string_view>
#include <vector>

#include "fs/core/live_files.h"
#include "fs/core/tree.h"

namespace varve {

class DirectoryCapture {
 public:
  struct Dependencies {
    Tree& tree;
    LiveFiles& files;
    Clock& clock;
    int64_t quiet_ns = 0;
  };
  explicit DirectoryCapture(const Dependencies& dependencies) : d_(dependencies) {}

  // Once a second: captures what is due.
  Status CaptureDue();
  // Captures all that changed, quiet or not; at umount.
  Status CaptureAll();

  // Gives each of them a version; those that are gone are left out. What is being written
  // is shown as its newest version.
  Status CaptureLocked(const std::vector<InodeNumber>& directories, CaptureReason reason);

  // Captures and pins under `name`. Fails with EEXIST, EINVAL for a name that a version
  // could have, ENAMETOOLONG.
  Status Pin(InodeNumber directory, std::string_view name);
  // Captures as a pin does, then calls `then` with the moment that it ended, and with the
  // lock still held.
  Status CaptureAnd(InodeNumber directory, std::function<Status(Moment)> then);
  // The version stays. Fails with ENOENT.
  Status Unpin(InodeNumber directory, std::string_view name);

  // That a pin must not be called so.
  static bool IsReserved(std::string_view name);

 private:
  // What is captured together, and how.
  struct Request {
    std::vector<InodeNumber> directories;
    CaptureReason reason = CaptureReason::kQuiet;
    std::string_view pin;  // pins the one directory under this name, unless it is empty
    std::vector<LiveFiles::Copied> copies;
    std::function<Status(Moment)> then;
  };
  // Copies what is being written below the directories, then captures.
  Status CaptureWithCopies(Request request, uint64_t copy_bytes_max);
  Status CaptureRequestLocked(Request request);
  // So many at a time that nobody waits long for the lock; each turn is a moment.
  Status CaptureInTurns(const std::vector<InodeNumber>& directories);
  // Gives the directories a version that names the present moment.
  Status AppendVersions(const Request& request, Batch* batch);
  // EEXIST, ENOENT.
  Status CheckPinLocked(InodeNumber directory, std::string_view name);
  // What is being written: shown as a copy of it, or as it was before.
  Status FindShownLocked(const Request& request, std::vector<SavedRows::Shown>* shown,
                         Batch* batch);
  Result<InodeRecord> LastClosedLocked(InodeNumber inode, InodeRecord record);
  // Makes `record` show the newest version under its name that is not `written`.
  Result<bool> ShowListedLocked(InodeNumber inode, ContentId written, InodeRecord* record);
  bool IsBelowAnyLocked(InodeNumber inode, const std::vector<InodeNumber>& directories);
  // Writes that the kernel passed through change directories, too.
  Status NoticeWritersLocked();

  Dependencies d_;
};

}  // namespace varve
