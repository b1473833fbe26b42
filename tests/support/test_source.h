// A ContentSource over ranges of bytes in memory, with holes between them.
//
// Threads: belongs to one thread.
#pragma once

#include <functional>
#include <map>
#include <string>

#include "fs/core/content_store.h"

namespace varve::testing {

class TestSource final : public ContentSource {
 public:
  explicit TestSource(uint64_t size) : size_(size) {}
  // All data, no holes.
  explicit TestSource(std::string bytes) : size_(bytes.size()) { Put(0, std::move(bytes)); }

  // REQUIRES: does not overlap what was put before; lies within the size.
  void Put(uint64_t offset, std::string bytes) {
    if (!bytes.empty()) ranges_[offset] = std::move(bytes);
  }
  // Called by Cancelled().
  void OnCancelled(std::function<bool()> hook) { cancelled_ = std::move(hook); }

  uint64_t size_bytes() const override { return size_; }
  Result<ByteRange> NextData(uint64_t offset) override;
  Result<size_t> ReadAt(uint64_t offset, MutableBytes out) override;
  bool Cancelled() override { return cancelled_ && cancelled_(); }

  uint64_t bytes_read() const { return bytes_read_; }

 private:
  const uint64_t size_;
  std::map<uint64_t, std::string> ranges_;
  std::function<bool()> cancelled_;
  uint64_t bytes_read_ = 0;
};

}  // namespace varve::testing
