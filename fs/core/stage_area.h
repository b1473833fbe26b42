// The staging files: STORE/stage/XX/<id>, 64 directories.
//
// Threads:    all methods may be called concurrently.
// Durability: a removed file goes only after the change that dropped its last use
//             is durable (Reap), so a power cut never finds a row without its file.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "fs/core/keys.h"
#include "store/base/disk.h"
#include "store/base/mutex.h"

namespace varve {

class StageArea {
 public:
  // Makes the directories. `disk` outlives it.
  static Result<std::unique_ptr<StageArea>> Open(Disk& disk);

  // A new, empty file, open for reading and writing. `id` is used only if no spare
  // one is there; `*used` says which it is.
  Result<std::shared_ptr<File>> Create(StageId id, StageId* used);
  Result<std::shared_ptr<File>> Open(StageId id, OpenMode mode);
  // A new file with the bytes of another one. `id` as for Create().
  Result<StageId> Copy(StageId source, StageId id);
  // After this and a SyncData of the file, the file survives a power cut.
  Status SyncName(StageId id);
  // Both.
  Status Sync(StageId id);

  // Takes back an empty file that was never written: the next Create() has it.
  void Recycle(StageId id);
  // Queues a file for removal.
  void Remove(StageId id);
  // What was queued until now. To be passed to Reap() after a commit.
  std::vector<StageId> TakeRemoved();
  void Reap(const std::vector<StageId>& removed);

  // All files that are there. For recovery.
  Result<std::vector<StageId>> List();

 private:
  explicit StageArea(Disk& disk) : disk_(disk) {}
  static std::string PathOf(StageId id);

  Disk& disk_;
  Mutex mutex_;
  std::vector<StageId> spare_ GUARDED_BY(mutex_);
  std::vector<StageId> removed_ GUARDED_BY(mutex_);
};

}  // namespace varve
