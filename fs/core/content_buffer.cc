#include "fs/core/content_buffer.h"

#include <sys/mman.h>

#include <cstdlib>
#include <utility>

#include "store/base/check.h"

namespace varve {
namespace {

constexpr size_t kAlignment = 4096;  // what direct reads ask for

uint8_t* Allocate(size_t room) {
  auto* bytes = static_cast<uint8_t*>(std::aligned_alloc(kAlignment, room));
  CHECK(bytes != nullptr);
  return bytes;
}

// From the system itself, so that what is not needed any more goes back to it: the
// allocator would keep holes of hundreds of MiB.
uint8_t* Map(size_t room) {
  void* bytes = ::mmap(nullptr, room, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  CHECK(bytes != MAP_FAILED);
  return static_cast<uint8_t*>(bytes);
}

}  // namespace

std::shared_ptr<BufferPool> BufferPool::Make(uint64_t idle_bytes_max) {
  return std::shared_ptr<BufferPool>(new BufferPool(idle_bytes_max));
}

BufferPool::~BufferPool() {
  for (size_t i = 0; i < kSteps; ++i)
    for (uint8_t* bytes : idle_[i]) ::munmap(bytes, (i + 1) * kStepBytes);
}

BufferPool::Buffer& BufferPool::Buffer::operator=(Buffer&& other) noexcept {
  if (this != &other) {
    Release();
    pool_ = std::move(other.pool_);
    bytes_ = std::exchange(other.bytes_, nullptr);
    size_ = std::exchange(other.size_, 0);
    room_ = std::exchange(other.room_, 0);
  }
  return *this;
}

void BufferPool::Buffer::Release() {
  if (bytes_ == nullptr) return;
  pool_->GiveBack(std::exchange(bytes_, nullptr), room_);
  pool_.reset();
}

BufferPool::Buffer BufferPool::Acquire(size_t size) {
  CHECK(size >= 1 && size <= kChunkBytesMax);
  if (size <= kStepBytes / 2) {
    const size_t room = (size + kAlignment - 1) / kAlignment * kAlignment;
    return {shared_from_this(), Allocate(room), size, room};
  }
  const size_t steps = (size + kStepBytes - 1) / kStepBytes;
  const size_t room = steps * kStepBytes;
  {
    MutexLock lock(mutex_);
    std::vector<uint8_t*>& idle = idle_[steps - 1];
    if (!idle.empty()) {
      uint8_t* bytes = idle.back();
      idle.pop_back();
      idle_bytes_ -= room;
      return {shared_from_this(), bytes, size, room};
    }
  }
  return {shared_from_this(), Map(room), size, room};
}

void BufferPool::GiveBack(uint8_t* bytes, size_t room) {
  if (room % kStepBytes != 0) {
    std::free(bytes);
    return;
  }
  {
    MutexLock lock(mutex_);
    if (idle_bytes_ + room <= idle_bytes_max_) {
      idle_[room / kStepBytes - 1].push_back(bytes);
      idle_bytes_ += room;
      return;
    }
  }
  ::munmap(bytes, room);
}

}  // namespace varve
