// The staging files: STORE/stage/XX/<id>, 64 directories.
//
// Threads:    all methods may be called concurrently.
// Durability: a removed file goes only after the change that dropped its last use
//             is durable (Reap), so a power cut never finds a row without its file.
#pragma once

#include <array>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "fs/core/keys.h"
#include "store/base/disk.h"
#include "store/base/mutex.h"

namespace varve {

class StageArea {
 public:
  static constexpr unsigned kDirectories = 64;

  // Makes the directories. `disk` outlives it.
  static Result<std::unique_ptr<StageArea>> Open(Disk& disk);

  // A new, empty file, open for reading and writing; a spare one if there is any.
  Result<std::shared_ptr<File>> Create(StageId id);
  Result<std::shared_ptr<File>> Open(StageId id, OpenMode mode);
  // A new file with the bytes of another one.
  Status Copy(StageId source, StageId id);
  // After this and a SyncData of the file, the file survives a power cut.
  Status SyncName(StageId id);
  // Both.
  Status Sync(StageId id);

  // Queues a file for removal.
  void Remove(StageId id);
  // What was queued until now. To be passed to Reap() after a commit.
  std::vector<StageId> TakeRemoved();
  void Reap(const std::vector<StageId>& removed);

  // All files that are there, but the spare ones. For recovery.
  Result<std::vector<StageId>> List();

 private:
  explicit StageArea(Disk& disk) : disk_(disk) {}
  static std::string PathOf(StageId id);
  static std::string SparePathOf(StageId id);
  Status RemoveSpares();
  std::optional<StageId> TakeSpare(StageId id);
  bool KeepAsSpare(StageId id);

  Disk& disk_;
  Mutex mutex_;
  // Empty files that nobody has open, by directory: making a file of one costs a
  // rename, and a new inode takes the filesystem below much longer after many removals.
  std::array<std::vector<StageId>, kDirectories> spare_ GUARDED_BY(mutex_);
  std::vector<StageId> removed_ GUARDED_BY(mutex_);
};

}  // namespace varve
