#include "store/format/byte_source.h"

#include <algorithm>

#include "store/base/check.h"

namespace varve {

Result<ByteView> BufferedSource::Get(uint64_t offset, size_t size) {
  CHECK(size <= kBufferBytes);
  const uint64_t end = source_.size_bytes();
  if (offset >= end) return ByteView();
  size = static_cast<size_t>(std::min<uint64_t>(size, end - offset));
  if (offset < begin_ || offset + size > begin_ + buffer_.size()) {
    buffer_.resize(static_cast<size_t>(std::min<uint64_t>(kBufferBytes, end - offset)));
    begin_ = offset;
    auto* bytes = reinterpret_cast<uint8_t*>(buffer_.data());
    const Result<size_t> got = source_.ReadAt(offset, {bytes, buffer_.size()});
    if (!got.ok()) {
      buffer_.clear();
      return got.status();
    }
    buffer_.resize(*got);
    size = std::min(size, *got);
  }
  return AsBytes(buffer_).subspan(static_cast<size_t>(offset - begin_), size);
}

Result<size_t> SliceSource::ReadAt(uint64_t offset, MutableBytes out) {
  if (offset >= size_bytes()) return size_t{0};
  const uint64_t left = size_bytes() - offset;
  return source_.ReadAt(begin_ + offset,
                        out.first(static_cast<size_t>(std::min<uint64_t>(out.size(), left))));
}

}  // namespace varve
