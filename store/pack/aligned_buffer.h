// Memory that O_DIRECT accepts.
//
// Threads: a value.
// Units:   bytes.
#pragma once

#include <cstdlib>
#include <memory>

#include "store/base/bytes.h"
#include "store/base/check.h"
#include "store/pack/pack_format.h"

namespace varve {

class AlignedBuffer {
 public:
  AlignedBuffer() = default;
  // REQUIRES: `size` is a multiple of kBlockBytes.
  explicit AlignedBuffer(size_t size)
      : memory_(static_cast<uint8_t*>(std::aligned_alloc(kBlockBytes, size))), size_(size) {
    CHECK(size % kBlockBytes == 0 && memory_ != nullptr);
  }

  uint8_t* data() const { return memory_.get(); }
  size_t size() const { return size_; }
  MutableBytes bytes() const { return {memory_.get(), size_}; }

 private:
  struct Free {
    void operator()(uint8_t* memory) const { std::free(memory); }
  };
  std::unique_ptr<uint8_t, Free> memory_;
  size_t size_ = 0;
};

}  // namespace varve
