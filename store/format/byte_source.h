// Where a format is read from: any bytes that have a size and can be read anywhere.
//
// Threads: as the implementation says.
#pragma once

#include <cstdint>

#include "store/base/bytes.h"
#include "store/base/result.h"

namespace varve {

class ByteSource {
 public:
  virtual ~ByteSource() = default;
  virtual uint64_t size_bytes() const = 0;
  // Reads until `out` is full or the end; returns how much.
  virtual Result<size_t> ReadAt(uint64_t offset, MutableBytes out) = 0;
};

// Reads small pieces in ascending order through one buffer.
class BufferedSource {
 public:
  explicit BufferedSource(ByteSource& source) : source_(source) {}

  uint64_t size_bytes() const { return source_.size_bytes(); }
  // The `size` bytes at `offset`, fewer at the end of the source. Valid until the
  // next call. REQUIRES: size <= kBufferBytes.
  Result<ByteView> Get(uint64_t offset, size_t size);

  static constexpr size_t kBufferBytes = 128u << 10;

 private:
  ByteSource& source_;
  std::string buffer_;
  uint64_t begin_ = 0;
};

// A part of another source, as a source of its own.
class SliceSource final : public ByteSource {
 public:
  // REQUIRES: begin <= end <= the size of `source`, which outlives this.
  SliceSource(ByteSource& source, uint64_t begin_bytes, uint64_t end_bytes)
      : source_(source), begin_(begin_bytes), end_(end_bytes) {}

  uint64_t size_bytes() const override { return end_ - begin_; }
  Result<size_t> ReadAt(uint64_t offset, MutableBytes out) override;

 private:
  ByteSource& source_;
  const uint64_t begin_;
  const uint64_t end_;
};

}  // namespace varve
