#include "fs/core/extent_map.h"

#include <algorithm>

namespace varve {

bool ExtentMap::Plan(ByteRange range, Change* change) const {
  if (range.begin >= range.end) return false;
  auto it = ranges_.upper_bound(range.begin);
  if (it != ranges_.begin()) {
    const auto before = std::prev(it);
    if (before->second >= range.end) return false;
    if (before->second >= range.begin) {
      range.begin = before->first;
      it = before;
    }
  }
  for (; it != ranges_.end() && it->first <= range.end; ++it) {
    range.end = std::max(range.end, it->second);
    if (it->first != range.begin) change->removed.push_back(it->first);
  }
  change->added = range;
  return true;
}

void ExtentMap::Apply(const Change& change) {
  for (const uint64_t begin : change.removed) ranges_.erase(begin);
  ranges_[change.added.begin] = change.added.end;
}

std::vector<uint64_t> ExtentMap::Cut(uint64_t size, ByteRange* shortened) {
  std::vector<uint64_t> removed;
  *shortened = {};
  auto it = ranges_.lower_bound(size);
  if (it != ranges_.begin()) {
    auto before = std::prev(it);
    if (before->second > size) {
      before->second = size;
      *shortened = {before->first, size};
    }
  }
  while (it != ranges_.end()) {
    removed.push_back(it->first);
    it = ranges_.erase(it);
  }
  return removed;
}

ByteRange ExtentMap::Next(uint64_t offset, uint64_t limit) const {
  auto it = ranges_.upper_bound(offset);
  if (it != ranges_.begin() && std::prev(it)->second > offset) it = std::prev(it);
  if (it == ranges_.end() || it->first >= limit) return {limit, limit};
  return {std::max(it->first, offset), std::min(it->second, limit)};
}

std::vector<ByteRange> ExtentMap::All() const {
  std::vector<ByteRange> all;
  all.reserve(ranges_.size());
  for (const auto& [begin, end] : ranges_) all.push_back({begin, end});
  return all;
}

std::string EncodeOffset(uint64_t offset_bytes) {
  std::string value;
  ByteWriter(&value).Varint(offset_bytes);
  return value;
}

Result<uint64_t> DecodeOffset(std::string_view value) {
  ByteReader in(value);
  const uint64_t offset = in.Varint();
  if (!in.Done()) return Status(Code::kCorrupt, "an extent of the index is damaged");
  return offset;
}

}  // namespace varve
