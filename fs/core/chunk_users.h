// Tells which files and versions have some of a set of chunks, by the paths that users know.
//
// Chunks lead to contents by their recipes, contents to names: of live files, of versions
// (`D/.varve/versions/FILE/0003`), of what is changed in place and not stored yet, and
// where none of these has it, of what captured directories show. Paths begin at the
// mount's root. Reads all of those tables: for damage, and for what is purged.
//
// Threads: belongs to one thread; takes Tree::mutex() for one file at a time.
// Errors:  those of the catalog; what `go_on` fails with.
// Memory:  48 bytes for each content that has one of the chunks, and 100 for each of
//          their versions.
#pragma once

#include <functional>
#include <string>
#include <string_view>
#include <unordered_map>
#include <unordered_set>
#include <vector>

#include "fs/core/row_pages.h"
#include "fs/core/tree.h"

namespace varve {

using ChunkIds = std::unordered_set<ChunkId, ChunkIdHash>;

class ChunkUsers {
 public:
  struct User {
    std::string path;
    uint64_t bytes = 0;       // of those chunks
    uint64_t first_byte = 0;  // where the first of them begins
  };
  // `go_on` is asked between pages; what it fails with ends the search.
  ChunkUsers(Tree& tree, std::function<Status()> go_on) : tree_(tree), go_on_(std::move(go_on)) {}

  // `counts`: contents that may be told; all, if it is empty.
  Status Find(const ChunkIds& chunks, std::function<void(User)> found,
              std::function<bool(ContentId)> counts = {});

 private:
  struct Use {
    uint64_t bytes = 0;
    uint64_t first_byte = 0;
    bool named = false;
  };
  struct Version {
    std::string row_key;
    ContentId content = 0;
  };

  Status Walk(char table, const std::function<Status(std::string_view, std::string_view)>& visit);
  Status FindContents(const ChunkIds& chunks);
  Status FindOverlays();
  Status NameLiveFiles();
  Status FindVersions();
  Status NameVersions();
  Status NameCaptured();
  Status NameInode(InodeNumber inode, Use* use);
  void Name(std::string path, Use* use);

  Tree& tree_;
  const std::function<Status()> go_on_;
  std::function<void(User)> found_;
  std::function<bool(ContentId)> counts_;
  std::unordered_map<ContentId, Use> uses_;
  std::vector<Version> versions_;
  std::unordered_map<HistoryId, InodeNumber> directories_;  // of those versions
};

}  // namespace varve
