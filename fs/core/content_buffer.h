// Page-aligned buffers for chunks, given back and used again.
//
// Chunks come and go at gigabytes per second; asking the system for each one's
// memory would cost as much as reading it.
//
// Threads: all methods may be called concurrently. A buffer may outlive the pool.
// Units:   bytes.
#pragma once

#include <cstdint>
#include <memory>
#include <vector>

#include "store/base/bytes.h"
#include "store/base/mutex.h"
#include "store/chunk/chunk.h"

namespace varve {

class BufferPool : public std::enable_shared_from_this<BufferPool> {
 public:
  // At most `idle_bytes_max` are kept while nobody uses them.
  static std::shared_ptr<BufferPool> Make(uint64_t idle_bytes_max);

  class Buffer {
   public:
    Buffer() = default;
    Buffer(std::shared_ptr<BufferPool> pool, uint8_t* bytes, size_t size, size_t room)
        : pool_(std::move(pool)), bytes_(bytes), size_(size), room_(room) {}
    Buffer(Buffer&& other) noexcept { *this = std::move(other); }
    Buffer& operator=(Buffer&& other) noexcept;
    ~Buffer() { Release(); }

    MutableBytes bytes() { return {bytes_, size_}; }
    ByteView bytes() const { return {bytes_, size_}; }
    // What it costs, at least its size.
    size_t room_bytes() const { return room_; }

   private:
    void Release();

    std::shared_ptr<BufferPool> pool_;
    uint8_t* bytes_ = nullptr;
    size_t size_ = 0;
    size_t room_ = 0;
  };

  // REQUIRES: 1 <= size <= kChunkBytesMax.
  Buffer Acquire(size_t size);

  ~BufferPool();
  BufferPool(const BufferPool&) = delete;
  BufferPool& operator=(const BufferPool&) = delete;

 private:
  explicit BufferPool(uint64_t idle_bytes_max) : idle_bytes_max_(idle_bytes_max) {}
  void GiveBack(uint8_t* bytes, size_t room);

  // Rooms are multiples of this; smaller buffers are not kept.
  static constexpr size_t kStepBytes = 64u << 10;
  static constexpr size_t kSteps = kChunkBytesMax / kStepBytes;

  const uint64_t idle_bytes_max_;

  Mutex mutex_;
  std::vector<uint8_t*> idle_[kSteps] GUARDED_BY(mutex_);
  uint64_t idle_bytes_ GUARDED_BY(mutex_) = 0;
};

}  // namespace varve
