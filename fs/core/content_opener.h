// Opens the bytes of a captured version, wherever they are at the moment.
//
// A version's content is in packs once it is stored; before that it is in its
// staging file, or in an overlay and the content below it. Whoever reads a
// version does not care: it asks here and gets a reader.
//
// Threads: may be called concurrently.
// Errors:  kNotFound when the content is gone, kCorrupt and kIo as ContentStore.
#pragma once

#include <cstdint>
#include <memory>
#include <string>

#include "fs/core/content_store.h"
#include "fs/core/keys.h"
#include "store/base/result.h"

namespace varve {

class VersionReader {
 public:
  virtual ~VersionReader() = default;

  // A reader of the first `size_bytes` bytes of `content`, which is not 0. It stays
  // usable when the content is stored, or its staging file removed, meanwhile.
  // `path_for_messages` is what the log calls it when its bytes are damaged.
  virtual Result<std::shared_ptr<ContentReader>> OpenContent(ContentId content, uint64_t size_bytes,
                                                             std::string path_for_messages) = 0;
};

}  // namespace varve
