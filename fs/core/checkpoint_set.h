// Files that make one checkpoint only together: a sharded set, a distributed one.
//
//   NAME.index.json   names its shards in "weight_map": every one has to be there
//   *.distcp          torch's distributed checkpoints: whole once `.metadata` is there
//
// It looks at the names of one directory, and reads the index files of sharded sets.
// Whether each file by itself is whole is content_verdict.h's business.
//
// Threads: free functions.
// Errors:  those of the source.
#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "fs/core/content_opener.h"
#include "fs/core/records.h"
#include "index/catalog.h"

namespace varve {

// A regular file of a directory.
struct SetMember {
  std::string name;
  ContentId content = 0;
  uint64_t size_bytes = 0;
};

struct SetVerdict {
  bool is_set = false;     // there is one at all
  std::string incomplete;  // why it is not whole, a sentence; "" when it is
};

Result<SetVerdict> JudgeSet(VersionReader& contents, const std::vector<SetMember>& members);

// What `user.varve.complete` says of a directory: its recognised files, and the sets
// that they make.
struct DirectoryVerdict {
  bool recognised = false;  // something in it is of a recognised format, or a set
  std::string incomplete;   // "" when it is whole, or nothing in it is recognised
};
Result<DirectoryVerdict> JudgeDirectory(Catalog& catalog, VersionReader& contents,
                                        const std::vector<SetMember>& members);

// The value of `user.varve.complete` or `.incomplete` of a directory; nothing when
// nothing in it is recognised.
std::optional<std::string> DirectoryAttribute(std::string_view name,
                                              const DirectoryVerdict& verdict);

// A file with such a name is taken for a part of a checkpoint before its bytes say so.
bool NamedLikeModel(std::string_view name);

}  // namespace varve
