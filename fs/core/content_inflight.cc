#include "fs/core/content_inflight.h"

#include "fs/core/keys.h"
#include "store/base/check.h"

namespace varve {

std::optional<ChunkLocation> InFlightChunks::Acquire(const ChunkId& id) {
  MutexLock lock(mutex_);
  if (collecting_) met_.insert(id);
  const auto found = chunks_.find(id);
  if (found == chunks_.end()) return std::nullopt;
  ++found->second.users;
  return found->second.location;
}

void InFlightChunks::Add(const ChunkId& id, const ChunkLocation& location) {
  MutexLock lock(mutex_);
  const bool added = chunks_.try_emplace(id, Entry{location, 1}).second;
  CHECK(added);
}

void InFlightChunks::Replace(const ChunkId& id, const ChunkLocation& location) {
  MutexLock lock(mutex_);
  Entry& entry = chunks_[id];
  entry.location = location;
  ++entry.users;
}

bool InFlightChunks::UsesPack(uint32_t pack) {
  // Whoever has appended to the pack but not added the chunk here holds its name's lock.
  for (Mutex& names : name_locks_) MutexLock lock(names);
  MutexLock lock(mutex_);
  bool used = false;
  for (auto chunk = chunks_.begin(); chunk != chunks_.end();) {
    const bool here = chunk->second.location.pack == pack;
    if (here && chunk->second.users > 0) used = true;
    chunk = here && chunk->second.users == 0 ? chunks_.erase(chunk) : std::next(chunk);
  }
  return used;
}

void InFlightChunks::Release(const std::vector<ChunkId>& ids, Catalog& catalog) {
  for (const ChunkId& id : ids) {
    // Without holding the mutex: whoever acquires it meanwhile is counted below.
    const Result<std::optional<std::string>> row = catalog.Get(key::Chunk(id));
    const bool indexed = row.ok() && row->has_value();
    MutexLock lock(mutex_);
    const auto found = chunks_.find(id);
    CHECK(found != chunks_.end() && found->second.users > 0);
    if (--found->second.users > 0) continue;
    if (indexed) {
      chunks_.erase(found);
    } else {
      leftovers_.push_back(id);
    }
    while (leftovers_.size() > kLeftoversMax) {
      const auto oldest = chunks_.find(leftovers_.front());
      if (oldest != chunks_.end() && oldest->second.users == 0) chunks_.erase(oldest);
      leftovers_.pop_front();
    }
  }
}

void InFlightChunks::BeginCollection() {
  MutexLock lock(mutex_);
  collecting_ = true;
  met_.clear();
}

void InFlightChunks::EndCollection() {
  MutexLock lock(mutex_);
  collecting_ = false;
  met_ = {};
}

Result<std::vector<ChunkId>> InFlightChunks::RemoveUnused(const std::vector<ChunkId>& ids,
                                                          Catalog& catalog) {
  std::vector<ChunkId> removed;
  Batch batch;
  // Held until the rows are gone: who looks for one now finds it, and was met, or does not.
  MutexLock lock(mutex_);
  for (const ChunkId& id : ids) {
    if (met_.contains(id) || chunks_.contains(id)) continue;
    batch.Delete(key::Chunk(id));
    removed.push_back(id);
  }
  if (!batch.empty()) RETURN_IF_ERROR(catalog.Apply(batch));
  return removed;
}

size_t InFlightChunks::size() {
  MutexLock lock(mutex_);
  return chunks_.size();
}

}  // namespace varve
