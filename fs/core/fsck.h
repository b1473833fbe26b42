// Checks a store that nobody has mounted, and repairs it.
//
// Every invariant of the index, the packs and the staging files is checked against
// the others. What a killed daemon leaves (pending contents, files that are still
// open, stray staging files) is unfinished, not damaged: the next mount goes on
// with it. A repair loses as little as it can and says for each thing what it did;
// what is lost for good stays listed, is marked incomplete, and reads as EIO.
//
// Threads: one store at a time per caller; it takes the store's lock.
// Errors:  kBusy when somebody has the store; kInvalid when it is none; kCorrupt
//          when nothing can be checked, and the sentence says what to do. Damage
//          that was found is a result, not an error.
// Memory:  about 90 bytes for each inode, content and chunk.
// Format:  docs/SEMANTICS.md, "varve fsck".
#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <string_view>
#include <vector>

#include "store/base/result.h"

namespace varve {

struct FsckOptions {
  bool repair = false;
  bool rebuild_index = false;  // from the packs alone; implies repair
  bool verify_data = false;    // decode every chunk
  // Told now and then what is being done and how far it is; may be empty.
  std::function<void(std::string_view what, uint64_t done, uint64_t total)> progress;
};

struct FsckReport {
  struct Finding {
    std::string what;    // "/run/model.pt names inode 17, which does not exist"
    std::string remedy;  // what a repair does, or did: "the name is removed"
    bool repaired = false;
  };
  static constexpr size_t kFindingsMax = 10'000;
  std::vector<Finding> findings;   // at most kFindingsMax
  uint64_t damages = 0;            // all that were found
  uint64_t repaired = 0;           // of them
  std::vector<std::string> notes;  // unfinished things, losses that are known, what was rebuilt

  uint64_t inodes = 0, directories = 0, names = 0, versions = 0, contents = 0;
  uint64_t chunks = 0, packs = 0, journals = 0;
  uint64_t stored_bytes = 0;  // of chunks, as they lie in packs

  bool clean() const { return damages == 0; }
};

// `store_path` is absolute.
Result<FsckReport> CheckStore(const std::string& store_path, const FsckOptions& options);

}  // namespace varve
