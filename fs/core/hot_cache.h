// Which stored contents keep their staging file, for reads at the kernel's speed.
//
// Least recently stored goes first, when they take more than their share. Small
// ones are not kept: a staging file each would cost more than it gains.
//
// Threads: needs Tree::mutex().
// Units:   bytes.
#pragma once

#include <list>
#include <unordered_map>

#include "fs/core/keys.h"

namespace varve {

class HotCache {
 public:
  static constexpr uint64_t kSmallBytes = 64 << 10;

  explicit HotCache(uint64_t bytes_max) : bytes_max_(bytes_max) {}

  void SetMax(uint64_t bytes_max) { bytes_max_ = bytes_max; }
  void Add(ContentId content, uint64_t bytes) {
    Remove(content);
    order_.push_back({content, bytes});
    where_[content] = std::prev(order_.end());
    bytes_ += bytes;
  }
  void Remove(ContentId content) {
    const auto it = where_.find(content);
    if (it == where_.end()) return;
    bytes_ -= it->second->bytes;
    order_.erase(it->second);
    where_.erase(it);
  }
  // The one to go, or 0 while they fit. It stays listed until Remove().
  ContentId Excess() const {
    return bytes_ > bytes_max_ && !order_.empty() ? order_.front().content : 0;
  }
  // Moves it to the end: it could not go now.
  void Postpone(ContentId content) {
    const auto it = where_.find(content);
    if (it != where_.end()) order_.splice(order_.end(), order_, it->second);
  }
  uint64_t bytes() const { return bytes_; }
  size_t files() const { return order_.size(); }

 private:
  struct Kept {
    ContentId content;
    uint64_t bytes;
  };
  uint64_t bytes_max_;
  uint64_t bytes_ = 0;
  std::list<Kept> order_;
  std::unordered_map<ContentId, std::list<Kept>::iterator> where_;
};

}  // namespace varve
