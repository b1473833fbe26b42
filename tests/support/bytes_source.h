// A ByteSource over bytes in memory, which counts what is read of it.
//
// Threads: belongs to one thread.
#pragma once

#include <algorithm>
#include <string>

#include "store/format/byte_source.h"

namespace varve::testing {

// The low `bytes` of a number, little-endian: what headers are made of.
inline std::string Little(uint64_t value, size_t bytes) {
  std::string text;
  for (size_t i = 0; i < bytes; ++i) text += static_cast<char>(value >> (8 * i));
  return text;
}

class BytesSource final : public ByteSource {
 public:
  explicit BytesSource(std::string bytes) : BytesSource(std::move(bytes), 0) {}
  // The bytes, then zeros up to `size_bytes` if that is more.
  BytesSource(std::string bytes, uint64_t size_bytes)
      : bytes_(std::move(bytes)), size_bytes_(std::max<uint64_t>(bytes_.size(), size_bytes)) {}

  uint64_t size_bytes() const override { return size_bytes_; }
  Result<size_t> ReadAt(uint64_t offset, MutableBytes out) override {
    if (fail_at_ <= offset + out.size()) return Status(Code::kIo, "told to fail");
    if (offset >= size_bytes_) return size_t{0};
    const auto size = static_cast<size_t>(std::min<uint64_t>(out.size(), size_bytes_ - offset));
    std::fill_n(out.begin(), size, uint8_t{0});
    if (offset < bytes_.size()) {
      const auto from = static_cast<size_t>(offset);
      std::copy_n(bytes_.begin() + static_cast<ptrdiff_t>(from),
                  std::min(size, bytes_.size() - from), out.begin());
    }
    bytes_read_ += size;
    return size;
  }

  // Reads that touch this byte or later ones fail.
  void FailAt(uint64_t offset) { fail_at_ = offset; }
  uint64_t bytes_read() const { return bytes_read_; }

 private:
  const std::string bytes_;
  const uint64_t size_bytes_;
  uint64_t fail_at_ = UINT64_MAX;
  uint64_t bytes_read_ = 0;
};

}  // namespace varve::testing
