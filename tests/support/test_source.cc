#include "tests/support/test_source.h"

#include <algorithm>

namespace varve::testing {

Result<ByteRange> TestSource::NextData(uint64_t offset) {
  auto range = ranges_.upper_bound(offset);
  if (range != ranges_.begin()) {
    const auto before = std::prev(range);
    const uint64_t end = before->first + before->second.size();
    if (end > offset) return ByteRange{offset, end};
  }
  if (range == ranges_.end()) return ByteRange{size_, size_};
  return ByteRange{range->first, range->first + range->second.size()};
}

Result<size_t> TestSource::ReadAt(uint64_t offset, MutableBytes out) {
  const size_t size =
      offset >= size_ ? 0 : static_cast<size_t>(std::min<uint64_t>(out.size(), size_ - offset));
  std::fill_n(out.begin(), size, uint8_t{0});
  auto range = ranges_.upper_bound(offset);
  if (range != ranges_.begin()) --range;
  for (; range != ranges_.end() && range->first < offset + size; ++range) {
    const uint64_t begin = std::max(offset, range->first);
    const uint64_t end = std::min(offset + size, range->first + range->second.size());
    if (begin < end)
      std::copy_n(range->second.begin() + static_cast<ptrdiff_t>(begin - range->first), end - begin,
                  out.begin() + static_cast<ptrdiff_t>(begin - offset));
  }
  bytes_read_ += size;
  return size;
}

}  // namespace varve::testing
