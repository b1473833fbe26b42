// Memory that O_DIRECT accepts.
//
// Threads: a value.
// Units:   bytes.
#pragma once

#include <sys/mman.h>

#include <cstdint>
#include <cstdlib>
#include <memory>

#include "store/base/bytes.h"
#include "store/base/check.h"
#include "store/pack/pack_format.h"

namespace varve {

class AlignedBuffer {
 public:
  AlignedBuffer() = default;
  // REQUIRES: `size` is a multiple of kBlockBytes, and not 0.
  explicit AlignedBuffer(size_t size) : memory_(Allocate(size), Free{size}), size_(size) {
    CHECK(size > 0 && size % kBlockBytes == 0 && memory_ != nullptr);
  }

  uint8_t* data() const { return memory_.get(); }
  size_t size() const { return size_; }
  MutableBytes bytes() const { return {memory_.get(), size_}; }

 private:
  // Large ones are huge pages if they can be: a disk request has at most a few hundred
  // pieces of memory, so with 4 KiB pages 2 MiB were three requests (measured: cold
  // reads at 1.0 instead of 1.5 GB/s). And they are mapped, so that they go back to
  // the system: the allocator keeps as much in each of its arenas.
  static constexpr size_t kHugePageBytes = 2u << 20;

  static uint8_t* Allocate(size_t size) {
    if (size % kHugePageBytes != 0)
      return static_cast<uint8_t*>(std::aligned_alloc(kBlockBytes, size));
    // Maps one huge page more than needed, and gives back what is not aligned.
    void* mapped = ::mmap(nullptr, size + kHugePageBytes, PROT_READ | PROT_WRITE,
                          MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (mapped == MAP_FAILED) return nullptr;
    auto* begin = static_cast<uint8_t*>(mapped);
    const size_t skip =
        (kHugePageBytes - reinterpret_cast<uintptr_t>(begin) % kHugePageBytes) % kHugePageBytes;
    if (skip > 0) ::munmap(begin, skip);
    ::munmap(begin + skip + size, kHugePageBytes - skip);
    ::madvise(begin + skip, size, MADV_HUGEPAGE);  // best effort
    return begin + skip;
  }
  struct Free {
    Free() : size(0) {}
    explicit Free(size_t bytes) : size(bytes) {}
    size_t size;
    void operator()(uint8_t* memory) const {
      if (size % kHugePageBytes != 0) {
        std::free(memory);
      } else {
        ::munmap(memory, size);
      }
    }
  };
  std::unique_ptr<uint8_t, Free> memory_;
  size_t size_ = 0;
};

}  // namespace varve
