// A set of many numbers, gathered first and asked then: eight bytes each.
//
// Threads: belongs to one thread while it is gathered; then reads may be concurrent.
#pragma once

#include <algorithm>
#include <cstdint>
#include <vector>

namespace varve {

class IdSet {
 public:
  void Add(uint64_t id) {
    ids_.push_back(id);
    if (ids_.size() >= settle_at_) Settle();
  }
  // REQUIRED between the last Add() and Has().
  void Settle() {
    std::sort(ids_.begin(), ids_.end());
    ids_.erase(std::unique(ids_.begin(), ids_.end()), ids_.end());
    settle_at_ = std::max<size_t>(kSettleMin, 2 * ids_.size());
  }
  bool Has(uint64_t id) const { return std::binary_search(ids_.begin(), ids_.end(), id); }
  size_t size() const { return ids_.size(); }

 private:
  static constexpr size_t kSettleMin = 1 << 16;
  std::vector<uint64_t> ids_;
  size_t settle_at_ = kSettleMin;
};

}  // namespace varve
