// Finds the chunks that the index names and nobody can read.
//
// Most were met intact when the packs were scanned. The others are read from where the
// index says now: what came or was moved since, and what is damaged. A chunk that the
// index forgets, or places elsewhere meanwhile, is no damage. What is made from a base is
// damaged with it.
//
// Threads: belongs to one thread.
// Errors:  those of the catalog and of `before_read`, and a lack of memory or descriptors.
// Memory:  5 MiB, and 24 bytes for each damaged chunk, up to kDamagedMax.
#pragma once

#include <functional>
#include <vector>

#include "fs/core/chunk_users.h"
#include "fs/core/scrub_packs.h"

namespace varve {

class ScrubChunks {
 public:
  // More than that are counted, and what needs them is not told.
  static constexpr size_t kDamagedMax = 1 << 20;

  struct Dependencies {
    Catalog& catalog;
    PackStore& packs;
    std::function<Status(uint64_t bytes)> before_read;
  };
  ScrubChunks(const Dependencies& dependencies, const ScrubPacks& scanned, ScrubReport* report)
      : d_(dependencies), scanned_(scanned), report_(*report) {}

  Status Run();
  const ChunkIds& damaged() const { return damaged_; }

 private:
  struct Suspect {
    ChunkId id;
    ChunkLocation location;
  };

  Status Judge(const Suspect& suspect);
  Status ReadSuspects();
  Status JudgeRead(const ChunkRead& read, std::vector<Suspect>* again);
  // What is made from damaged chunks.
  Status FindBaseless();
  void AddDamaged(const Suspect& suspect, std::string_view why);

  Dependencies d_;
  const ScrubPacks& scanned_;
  ScrubReport& report_;
  std::vector<Suspect> suspects_;
  uint64_t suspect_bytes_ = 0;
  std::vector<uint8_t> memory_;
  ChunkIds damaged_;
};

}  // namespace varve
