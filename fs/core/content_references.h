// Which contents rows were made to name while somebody was looking for those that
// none names: a content that moves from a row that was not read yet to one that was
// would be missed, and its bytes lost.
//
// Threads: all methods may be called concurrently.
#pragma once

#include <atomic>
#include <string_view>
#include <unordered_set>
#include <vector>

#include "fs/core/keys.h"
#include "index/catalog.h"
#include "store/base/mutex.h"

namespace varve {

class ContentReferences {
 public:
  void Start();
  void Stop();
  // Rows that are about to be applied.
  void Note(const Batch& batch);
  // Whether one of them named it since Start().
  bool Has(ContentId content) const;

 private:
  std::atomic<bool> on_{false};
  mutable Mutex mutex_;
  std::unordered_set<ContentId> noted_ GUARDED_BY(mutex_);
};

// The contents that a row names: an inode's, a version's, a content's base; of a saved
// row, what it was. A row that cannot be decoded names none.
void AppendNamedContents(std::string_view row_key, std::string_view row,
                         std::vector<ContentId>* contents);

}  // namespace varve
