// The pack files that are open for reading, at most kOpenPacksMax of them.
//
// Threads: all methods may be called concurrently. A file stays open as long as
//          somebody holds it.
// Errors:  kNotFound for a pack that is not there: removed, or lost. Only who asked
//          the index for it can tell which.
#pragma once

#include <cstdint>
#include <list>
#include <map>
#include <memory>
#include <string>
#include <utility>

#include "store/base/disk.h"
#include "store/base/mutex.h"

namespace varve {

class PackFiles {
 public:
  // `disk` outlives this.
  PackFiles(Disk& disk, std::string path) : disk_(disk), path_(std::move(path)) {}

  // `direct` bypasses the page cache.
  Result<std::shared_ptr<File>> Get(uint32_t pack, bool direct) EXCLUDES(mutex_);
  // What has the name now, and not what was kept open of it.
  Result<std::shared_ptr<File>> OpenAnew(uint32_t pack, bool direct);
  // Its file was removed: lets go of it, so that the disk gets its space back as soon
  // as nobody reads from it any more.
  void Forget(uint32_t pack) EXCLUDES(mutex_);

 private:
  using Key = std::pair<uint32_t, bool>;
  using Recent = std::list<std::pair<Key, std::shared_ptr<File>>>;

  std::shared_ptr<File> Find(const Key& key) REQUIRES(mutex_);
  void Drop(const Key& key) REQUIRES(mutex_);

  Disk& disk_;
  const std::string path_;

  Mutex mutex_;
  Recent recent_ GUARDED_BY(mutex_);  // last used first
  std::map<Key, Recent::iterator> places_ GUARDED_BY(mutex_);
  uint64_t forgotten_ GUARDED_BY(mutex_) = 0;  // calls of Forget()
};

}  // namespace varve
