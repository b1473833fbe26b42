// Frees packs: what is still used of those that are mostly empty moves to new ones.
//
// Only packs that were sealed before the digests that ran then had ended, so that the
// index, or nobody, names what is in them. A pack goes when the index that names the new
// places is durable. Journals do not move: a base journal (journal.h) takes the place of
// all before it. On a full disk that takes the packs' reserve, and as few packs at a time as
// there is room for.
//
// Threads: belongs to one thread.
// Errors:  those of catalog and packs. A chunk that cannot be read stays, and its pack.
// Units:   bytes.
#pragma once

#include <functional>
#include <map>
#include <set>
#include <unordered_map>
#include <vector>

#include "fs/core/collect_chunks.h"

namespace varve {

class CollectPacks {
 public:
  struct Dependencies {
    Catalog& catalog;
    PackStore& packs;
    ContentStore& contents;
    const std::function<Status()>& commit;
    const std::function<uint64_t()>& room_bytes;
  };
  struct Freed {
    uint64_t packs = 0;
    uint64_t bytes = 0;        // of their files
    uint64_t moved_bytes = 0;  // to new ones
    uint64_t left = 0;         // packs that could not be emptied
  };
  CollectPacks(const Dependencies& dependencies, std::function<bool()> pause)
      : d_(dependencies), pause_(std::move(pause)) {}

  // Closes the packs that are being written, and remembers which there are. To be called
  // before the digests are awaited.
  Status Choose();

  // `live`: what of each pack is used. `thorough`: packs that have a little to gain, too.
  // `emptied`: packs that go however full they are.
  Result<Freed> Run(const std::map<uint32_t, PackContents>& live, bool thorough,
                    const std::set<uint32_t>& emptied);

 private:
  Status FreeJournals(const std::set<uint32_t>& emptied, std::set<uint32_t>* chosen);
  Result<bool> WriteBase();
  // As many of the emptiest as there is room for what moves out of them, but one at least;
  // they are taken out of `chosen`.
  std::set<uint32_t> TakeWhatFits(const std::map<uint32_t, PackContents>& live,
                                  std::set<uint32_t>* chosen);
  Status Empty(const std::set<uint32_t>& packs);
  std::set<uint32_t> ChooseEmptiest(const std::map<uint32_t, PackContents>& live, bool thorough);
  Status MoveChunks(const std::set<uint32_t>& from);
  Status MoveSome(std::vector<ChunkMove>* moves);

  Dependencies d_;
  const std::function<bool()> pause_;
  std::map<uint32_t, uint64_t> candidates_;  // their bytes
  std::set<uint32_t> kept_;                  // they hold something that could not be moved
  Freed freed_;
};

}  // namespace varve
