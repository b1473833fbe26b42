// Every inode of the store in few bytes each, for the checks that compare tables.
//
// Threads: one at a time.
// Memory:  88 bytes for each inode.
#pragma once

#include <vector>

#include "fs/core/fsck_context.h"

namespace varve {

struct InodeFacts {
  InodeNumber inode = 0;
  ContentId content = 0;     // regular files
  HistoryId history = 0;     // directories
  InodeNumber named_in = 0;  // directories: where their name was found
  uint64_t hint = 0;         // hash of the parent and the name that the record tells
  uint64_t names_sum = 0;    // of the hashes of all names that were found
  uint64_t size_bytes = 0;
  uint64_t links_sum = 0;  // of the hashes of its link rows
  uint32_t link_rows = 0;
  uint32_t links = 0;  // as the record says
  uint32_t names = 0;  // that were found
  uint32_t subdirectories = 0;
  mode_t type = 0;  // S_IFMT bits
  bool hint_found = false;
  bool orphan = false;
  bool symlink_row = false;
  bool clone = false;  // what it shows is not all in its own entries
  enum class Walk : uint8_t { kNew, kOnPath, kReached, kDetached } walk = Walk::kNew;

  bool directory() const { return S_ISDIR(type); }
  uint32_t links_expected() const { return directory() ? 2 + subdirectories : names; }
};

class InodeTable {
 public:
  // Reads the table anew. Records that make no sense are found and repaired.
  Status Load(FsckContext& context);

  InodeFacts* Find(InodeNumber inode);
  std::vector<InodeFacts>& all() { return facts_; }
  // The directory that has this history now; 0: none.
  InodeNumber DirectoryOf(HistoryId history) const;

 private:
  std::vector<InodeFacts> facts_;  // ascending
};

// Tells names of an inode apart, and is the same for a dirent and a link row.
uint64_t HashOfName(const Fingerprinter& fingerprinter, InodeNumber parent, std::string_view name);

}  // namespace varve
