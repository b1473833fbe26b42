// Which byte ranges of an overlay its staging file holds.
//
// Never inferred from holes: punch-hole and truncation make holes that must read
// as zeros and not as the base shows.
//
// Threads: not thread-safe.
// Units:   bytes, half-open ranges.
#pragma once

#include <cstdint>
#include <map>
#include <vector>

#include "fs/core/content_store.h"

namespace varve {

class ExtentMap {
 public:
  // What adding a range changes, for the index: rows to delete, and the one row to write.
  struct Change {
    std::vector<uint64_t> removed;  // begins of ranges that are merged away
    ByteRange added;
  };
  // Merges with what it touches. Returns no change when `range` is covered already.
  // Nothing is changed before Apply().
  bool Plan(ByteRange range, Change* change) const;
  void Apply(const Change& change);
  // Forgets everything at and beyond `size`; returns the begins of rows that went,
  // and in `shortened` the range that lost its tail, if one did (begin < end).
  std::vector<uint64_t> Cut(uint64_t size, ByteRange* shortened);
  // The first range that ends beyond `offset`, or {end, end} of `limit` if none.
  ByteRange Next(uint64_t offset, uint64_t limit) const;
  std::vector<ByteRange> All() const;
  // A row of the index as it is loaded: not merged, not reported.
  void Load(ByteRange range) { ranges_[range.begin] = range.end; }
  bool empty() const { return ranges_.empty(); }

 private:
  std::map<uint64_t, uint64_t> ranges_;  // begin -> end, disjoint and not touching
};

// Values of the index's extent rows.
std::string EncodeOffset(uint64_t offset_bytes);
Result<uint64_t> DecodeOffset(std::string_view value);

}  // namespace varve
