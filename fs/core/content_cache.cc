#include "fs/core/content_cache.h"

namespace varve {

ChunkCache::Claimed ChunkCache::Claim(const ChunkId& id, uint32_t size) {
  MutexLock lock(mutex_);
  if (const auto found = chunks_.find(id); found != chunks_.end()) {
    WantedLocked(*found->second);
    return {found->second, false};
  }
  return {InsertLocked(id, size, /*ahead=*/false), true};
}

std::optional<ChunkPin> ChunkCache::ClaimAhead(const ChunkId& id, uint32_t size) {
  MutexLock lock(mutex_);
  if (chunks_.contains(id)) return std::nullopt;
  return InsertLocked(id, size, /*ahead=*/true);
}

void ChunkCache::Publish(const ChunkPin& chunk, const Status& status) {
  MutexLock lock(mutex_);
  chunk->status_ = status;
  chunk->loaded_ = true;
  if (status.ok()) {
    chunk->state_ = CachedChunk::State::kUsed;
    used_.splice(used_.end(), loading_, chunk->place_);
  } else {
    RemoveLocked(chunk);
  }
  chunk->wake_.NotifyAll();
}

Status ChunkCache::Wait(const ChunkPin& chunk) {
  MutexLock lock(mutex_);
  while (!chunk->loaded_) chunk->wake_.Wait(mutex_);
  return chunk->status_;
}

void ChunkCache::Used(const ChunkPin& chunk, bool spent) {
  MutexLock lock(mutex_);
  WantedLocked(*chunk);
  if (chunk->state_ == CachedChunk::State::kGone || !chunk->loaded_) return;
  List& from = ListOfLocked(*chunk);
  chunk->state_ = spent ? CachedChunk::State::kSpent : CachedChunk::State::kUsed;
  List& to = ListOfLocked(*chunk);
  to.splice(to.end(), from, chunk->place_);
}

uint64_t ChunkCache::ahead_bytes() {
  MutexLock lock(mutex_);
  return ahead_bytes_;
}

uint64_t ChunkCache::bytes() {
  MutexLock lock(mutex_);
  return bytes_;
}

bool ChunkCache::Contains(const ChunkId& id) {
  MutexLock lock(mutex_);
  return chunks_.contains(id);
}

ChunkPin ChunkCache::InsertLocked(const ChunkId& id, uint32_t size, bool ahead) {
  MakeRoomLocked(size);
  auto chunk = std::make_shared<CachedChunk>(id, buffers_->Acquire(size));
  chunk->place_ = loading_.insert(loading_.end(), chunk);
  chunks_.emplace(id, chunk);
  bytes_ += chunk->buffer_.room_bytes();
  if (ahead) {
    chunk->ahead_ = true;
    ahead_bytes_ += chunk->buffer_.room_bytes();
  }
  return chunk;
}

void ChunkCache::WantedLocked(CachedChunk& chunk) {
  if (!chunk.ahead_) return;
  chunk.ahead_ = false;
  ahead_bytes_ -= chunk.buffer_.room_bytes();
}

void ChunkCache::RemoveLocked(const ChunkPin& chunk) {
  // A copy: the argument may be the list's own element.
  const ChunkPin keep = chunk;
  WantedLocked(*keep);
  bytes_ -= keep->buffer_.room_bytes();
  chunks_.erase(keep->id_);
  ListOfLocked(*keep).erase(keep->place_);
  keep->state_ = CachedChunk::State::kGone;
}

void ChunkCache::MakeRoomLocked(uint64_t bytes) {
  while (bytes_ + bytes > bytes_max_) {
    if (!spent_.empty()) {
      RemoveLocked(spent_.front());
    } else if (!used_.empty()) {
      RemoveLocked(used_.front());
    } else {
      return;  // all the rest is being loaded
    }
  }
}

ChunkCache::List& ChunkCache::ListOfLocked(const CachedChunk& chunk) {
  switch (chunk.state_) {
    case CachedChunk::State::kUsed:
      return used_;
    case CachedChunk::State::kSpent:
      return spent_;
    case CachedChunk::State::kLoading:
    case CachedChunk::State::kGone:
      break;
  }
  return loading_;
}

}  // namespace varve
