// Chunks that are in a pack already but not yet in the index.
//
// Contents that are digested at the same time share them, each naming them in its
// own batch. What a digest appended before it was cancelled stays known for a
// while, so that the next attempt does not append it again.
//
// Threads: all methods may be called concurrently. To add a chunk the caller holds
//          its NameLock() from its last look into this table *and* the index until
//          Add() has returned: otherwise two different chunks could get one name.
//          Who looks for a chunk in the index asks here first, always: that is what
//          keeps a collection from removing it.
// Memory:  what running digests have added, and kLeftoversMax more; during a collection
//          the names of all chunks that are met.
#pragma once

#include <array>
#include <cstdint>
#include <deque>
#include <optional>
#include <unordered_map>
#include <unordered_set>
#include <vector>

#include "index/catalog.h"
#include "store/base/mutex.h"
#include "store/chunk/chunk.h"

namespace varve {

class InFlightChunks {
 public:
  // Where chunk `id` is; then the caller is one more user of it.
  std::optional<ChunkLocation> Acquire(const ChunkId& id);
  // The caller is its first user.
  void Add(const ChunkId& id, const ChunkLocation& location);
  // The same for a chunk that may be there: a better copy of it.
  void Replace(const ChunkId& id, const ChunkLocation& location);
  // The caller uses these no more: `catalog` names them by now, or never will.
  void Release(const std::vector<ChunkId>& ids, Catalog& catalog);

  // From here on every chunk that is looked for or added is remembered.
  void BeginCollection();
  void EndCollection();
  // Deletes the rows of those that were not met since; returns them.
  Result<std::vector<ChunkId>> RemoveUnused(const std::vector<ChunkId>& ids, Catalog& catalog);
  // For a collector, about a sealed pack: true if somebody uses a chunk that lies there,
  // who may yet put its place into the index. If not, nobody will from now on: what was
  // left there is forgotten. Waits for appends that run.
  bool UsesPack(uint32_t pack);

  Mutex& NameLock(const ChunkId& id) { return name_locks_[ChunkIdHash()(id) % name_locks_.size()]; }

  size_t size();

 private:
  struct Entry {
    ChunkLocation location;
    uint32_t users = 0;
  };
  static constexpr size_t kLeftoversMax = 1u << 16;

  std::array<Mutex, 64> name_locks_;

  Mutex mutex_;
  std::unordered_map<ChunkId, Entry, ChunkIdHash> chunks_ GUARDED_BY(mutex_);
  // In the order they were left; some have found a user since.
  std::deque<ChunkId> leftovers_ GUARDED_BY(mutex_);
  bool collecting_ GUARDED_BY(mutex_) = false;
  std::unordered_set<ChunkId, ChunkIdHash> met_ GUARDED_BY(mutex_);
};

}  // namespace varve
