// The verdict on a content: which format it has, and whether it is whole.
//
// It is a stored content's for good, and in its record. A pending one's bytes are
// asked each time somebody wants to know, so half a checkpoint is known as such as
// soon as it is closed.
//
// Threads: free functions.
// Errors:  only those of the source.
#pragma once

#include <string_view>

#include "fs/core/content_opener.h"
#include "fs/core/records.h"
#include "store/format/completeness.h"

namespace varve {

// Bytes that know their holes.
class SparseSource : public ByteSource {
 public:
  // As lseek(2): SEEK_DATA or SEEK_HOLE; fails with ENXIO beyond the last data.
  virtual Result<uint64_t> Seek(uint64_t offset, int whence) = 0;
};

// A file that was sized ahead, as safetensors does, and never written to its end is
// not whole, whatever its header promises.
Result<Completeness> JudgeContent(SparseSource& source);

// What only the name tells: a .safetensors file without a header of one is not whole.
void JudgeByName(std::string_view name, Completeness* verdict);

// Fills in a pending content's verdict. `name` is one that it has, or had.
Status AddVerdict(VersionReader& contents, ContentId content, std::string_view name,
                  ContentRecord* record);

}  // namespace varve
