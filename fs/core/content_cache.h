// Decoded chunks in memory, shared by all readers; each is loaded once.
//
// Whoever claims a chunk that is not there must load it: fill its room, then
// Publish(). Everybody else who wants it waits for that. A pinned chunk stays
// valid as long as the pin lives, also when the cache has let it go.
//
// What was read to its end is "spent": the kernel has it, and sequential readers do
// not come back. Spent chunks go first, in order; then the least recently used.
// Otherwise a stream's used chunks would push out those loaded ahead for it.
//
// Threads: all methods may be called concurrently. One mutex, held for less than a
//          microsecond and taken a few times per chunk of half a MiB, so there is
//          nothing to gain from shards, which would make the budget inexact.
// Memory:  at most `bytes_max` in the cache, plus what is being loaded or pinned.
// Units:   bytes.
#pragma once

#include <cstdint>
#include <list>
#include <memory>
#include <optional>
#include <unordered_map>

#include "fs/core/content_buffer.h"
#include "store/base/bytes.h"
#include "store/base/mutex.h"
#include "store/base/result.h"
#include "store/chunk/chunk.h"

namespace varve {

class ChunkCache;

class CachedChunk {
 public:
  CachedChunk(const ChunkId& id, BufferPool::Buffer buffer) : id_(id), buffer_(std::move(buffer)) {}

  const ChunkId& id() const { return id_; }
  // REQUIRES: loaded.
  ByteView bytes() const { return std::as_const(buffer_).bytes(); }
  // For whoever loads it.
  MutableBytes room() { return buffer_.bytes(); }

 private:
  friend class ChunkCache;
  enum class State { kLoading, kUsed, kSpent, kGone };

  const ChunkId id_;
  BufferPool::Buffer buffer_;

  // Guarded by the cache's mutex.
  State state_ = State::kLoading;
  bool loaded_ = false;
  bool ahead_ = false;  // loaded ahead, and nobody wanted it yet
  Status status_;
  CondVar wake_;
  std::list<std::shared_ptr<CachedChunk>>::iterator place_;
};

using ChunkPin = std::shared_ptr<CachedChunk>;

class ChunkCache {
 public:
  ChunkCache(std::shared_ptr<BufferPool> buffers, uint64_t bytes_max)
      : buffers_(std::move(buffers)), bytes_max_(bytes_max) {}
  ChunkCache(const ChunkCache&) = delete;
  ChunkCache& operator=(const ChunkCache&) = delete;

  struct Claimed {
    ChunkPin chunk;
    bool mine = false;  // the caller loads it and calls Publish()
  };
  // REQUIRES: 1 <= size <= kChunkBytesMax. When the chunk is there already its size
  // may be another one, if the caller's recipe is damaged.
  Claimed Claim(const ChunkId& id, uint32_t size);
  // The same for a chunk that nobody wants yet; nothing when it is there or coming.
  std::optional<ChunkPin> ClaimAhead(const ChunkId& id, uint32_t size);

  // Ends the loading of a claimed chunk. A failed one is forgotten, so that the
  // next claim tries again.
  void Publish(const ChunkPin& chunk, const Status& status);
  // Returns when the chunk is loaded, with the status of that.
  Status Wait(const ChunkPin& chunk);
  // The chunk was read; `spent`: to its end.
  void Used(const ChunkPin& chunk, bool spent);

  // Loaded, or being loaded, for nobody yet.
  uint64_t ahead_bytes();
  uint64_t bytes_max() const { return bytes_max_; }
  // Of what is in the cache now.
  uint64_t bytes();
  // There, or being loaded.
  bool Contains(const ChunkId& id);

 private:
  ChunkPin InsertLocked(const ChunkId& id, uint32_t size, bool ahead) REQUIRES(mutex_);
  void WantedLocked(CachedChunk& chunk) REQUIRES(mutex_);
  void RemoveLocked(const ChunkPin& chunk) REQUIRES(mutex_);
  void MakeRoomLocked(uint64_t bytes) REQUIRES(mutex_);
  using List = std::list<ChunkPin>;
  List& ListOfLocked(const CachedChunk& chunk) REQUIRES(mutex_);

  const std::shared_ptr<BufferPool> buffers_;
  const uint64_t bytes_max_;

  Mutex mutex_;
  std::unordered_map<ChunkId, ChunkPin, ChunkIdHash> chunks_ GUARDED_BY(mutex_);
  List used_ GUARDED_BY(mutex_);   // front: least recently
  List spent_ GUARDED_BY(mutex_);  // front: first
  List loading_ GUARDED_BY(mutex_);
  uint64_t bytes_ GUARDED_BY(mutex_) = 0;
  uint64_t ahead_bytes_ GUARDED_BY(mutex_) = 0;
};

}  // namespace varve
