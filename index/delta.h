// The delta: what was applied and is not yet in the KeyValueStore, in memory.
//
// An ordered map that keeps every change under its sequence number. So a reader
// picks a sequence number once and then sees the state of that instant, whatever
// is added meanwhile, without a lock: a skip list whose nodes never move and never
// change, in an arena that is freed as a whole. An overwritten value stays until
// then; the size of the log bounds what that may cost.
//
// Threads:  one Add() at a time (the catalog's apply mutex); everything else may
//           run at any time, beside Add() too.
// Errors:   none.
// Units:    bytes.
#pragma once

#include <array>
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <string_view>
#include <vector>

namespace varve {

class Delta {
 private:
  struct Node;

 public:
  Delta();
  ~Delta();
  Delta(const Delta&) = delete;
  Delta& operator=(const Delta&) = delete;

  // Nothing deletes. The bytes are copied.
  // REQUIRES: `sequence` is not below any added before.
  void Add(uint64_t sequence, std::string_view key, std::optional<std::string_view> value);

  // The newest change of a key that is not after a sequence number. `value` lives
  // as long as the delta.
  struct Lookup {
    bool found = false;
    std::optional<std::string_view> value;  // nothing: deleted
  };
  Lookup Find(std::string_view key, uint64_t sequence) const;

  // Walks the keys in ascending order, each with its newest change that is not
  // after `sequence`, deletions included. The delta outlives it.
  class Cursor {
   public:
    Cursor(const Delta& delta, uint64_t sequence, std::string_view begin);
    bool valid() const { return node_ != nullptr; }
    // REQUIRES: valid().
    std::string_view key() const;
    std::optional<std::string_view> value() const;
    void Next();

   private:
    void SkipInvisible();

    const Delta& delta_;
    const uint64_t sequence_;
    const Node* node_;
  };

  // Distinct keys.
  uint64_t keys() const { return keys_.load(std::memory_order_relaxed); }
  // Memory, including what is overwritten.
  uint64_t bytes() const { return bytes_.load(std::memory_order_relaxed); }

 private:
  static constexpr int kHeightMax = 12;
  // Links of the head: the first node of each level.
  using Links = std::array<std::atomic<Node*>, kHeightMax>;
  // The last link before a position, on each level.
  using Path = std::array<std::atomic<Node*>*, kHeightMax>;

  // The first node at or behind (key, sequence), in the order key ascending,
  // sequence descending.
  Node* Seek(std::string_view key, uint64_t sequence, Path* path) const;
  int RandomHeight();
  std::byte* Allocate(size_t bytes);

  mutable Links head_{};
  std::atomic<uint64_t> keys_{0};
  std::atomic<uint64_t> bytes_{0};

  // Used by Add() only.
  uint64_t random_ = 0x9e3779b97f4a7c15u;
  std::vector<std::unique_ptr<std::byte[]>> blocks_;
  std::byte* free_ = nullptr;
  size_t free_bytes_ = 0;
  size_t block_bytes_ = 4096;
};

}  // namespace varve
