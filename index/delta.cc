#include "index/delta.h"

#include <algorithm>
#include <cstring>
#include <limits>
#include <new>

#include "store/base/check.h"

namespace varve {
namespace {

constexpr uint32_t kDeleted = std::numeric_limits<uint32_t>::max();
constexpr size_t kBlockBytesMax = 256u << 10;

}  // namespace

// Followed in memory by `height` links, the key and the value.
struct Delta::Node {
  uint64_t sequence;
  uint32_t value_bytes;
  uint16_t key_bytes;
  uint16_t height;

  static size_t Bytes(int height, size_t key_bytes, size_t value_bytes) {
    return sizeof(Node) + static_cast<size_t>(height) * sizeof(std::atomic<Node*>) + key_bytes +
           value_bytes;
  }
  std::atomic<Node*>* links() { return reinterpret_cast<std::atomic<Node*>*>(this + 1); }
  const std::atomic<Node*>* links() const {
    return reinterpret_cast<const std::atomic<Node*>*>(this + 1);
  }
  char* text() { return reinterpret_cast<char*>(links() + height); }
  const char* text() const { return reinterpret_cast<const char*>(links() + height); }
  std::string_view key() const { return {text(), key_bytes}; }
  std::optional<std::string_view> value() const {
    if (value_bytes == kDeleted) return std::nullopt;
    return std::string_view(text() + key_bytes, value_bytes);
  }
  const Node* next() const { return links()[0].load(std::memory_order_acquire); }
  bool Before(std::string_view other_key, uint64_t other_sequence) const {
    const int order = key().compare(other_key);
    return order < 0 || (order == 0 && sequence > other_sequence);
  }
};

Delta::Delta() = default;
Delta::~Delta() = default;

Delta::Node* Delta::Seek(std::string_view key, uint64_t sequence, Path* path) const {
  std::atomic<Node*>* links = head_.data();
  Node* known_behind = nullptr;  // saves comparing the same node again one level lower
  for (int level = kHeightMax - 1;; --level) {
    Node* next = links[level].load(std::memory_order_acquire);
    while (next != nullptr && next != known_behind && next->Before(key, sequence)) {
      links = next->links();
      next = links[level].load(std::memory_order_acquire);
    }
    if (path != nullptr) (*path)[static_cast<size_t>(level)] = &links[level];
    if (level == 0) return next;
    known_behind = next;
  }
}

void Delta::Add(uint64_t sequence, std::string_view key, std::optional<std::string_view> value) {
  CHECK(key.size() <= std::numeric_limits<uint16_t>::max());
  CHECK(!value || value->size() < kDeleted);
  const int height = RandomHeight();
  const size_t value_bytes = value ? value->size() : 0;
  auto* node = new (Allocate(Node::Bytes(height, key.size(), value_bytes)))
      Node{sequence, value ? static_cast<uint32_t>(value_bytes) : kDeleted,
           static_cast<uint16_t>(key.size()), static_cast<uint16_t>(height)};
  std::memcpy(node->text(), key.data(), key.size());
  if (value_bytes > 0) std::memcpy(node->text() + key.size(), value->data(), value_bytes);

  Path path;
  const Node* next = Seek(key, sequence, &path);
  if (next == nullptr || next->key() != key) keys_.fetch_add(1, std::memory_order_relaxed);
  // From the bottom up: a reader that finds the node on a level finds it below too.
  for (int level = 0; level < height; ++level) {
    std::atomic<Node*>* link = path[static_cast<size_t>(level)];
    new (&node->links()[level]) std::atomic<Node*>(link->load(std::memory_order_relaxed));
  }
  for (int level = 0; level < height; ++level) {
    path[static_cast<size_t>(level)]->store(node, std::memory_order_release);
  }
}

Delta::Lookup Delta::Find(std::string_view key, uint64_t sequence) const {
  const Node* node = Seek(key, sequence, nullptr);
  if (node == nullptr || node->key() != key) return {};
  return {true, node->value()};
}

int Delta::RandomHeight() {
  // xorshift64; one level more with probability 1/4.
  random_ ^= random_ << 13;
  random_ ^= random_ >> 7;
  random_ ^= random_ << 17;
  uint64_t bits = random_;
  int height = 1;
  while (height < kHeightMax && (bits & 3) == 0) {
    ++height;
    bits >>= 2;
  }
  return height;
}

std::byte* Delta::Allocate(size_t bytes) {
  bytes = (bytes + alignof(Node) - 1) / alignof(Node) * alignof(Node);
  if (bytes > free_bytes_) {
    // A large value gets a block of its own and leaves the current one usable.
    const bool own_block = bytes > block_bytes_ / 4;
    const size_t block_bytes = own_block ? bytes : block_bytes_;
    blocks_.push_back(std::make_unique_for_overwrite<std::byte[]>(block_bytes));
    bytes_.fetch_add(block_bytes, std::memory_order_relaxed);
    if (own_block) return blocks_.back().get();
    free_ = blocks_.back().get();
    free_bytes_ = block_bytes;
    block_bytes_ = std::min(block_bytes_ * 2, kBlockBytesMax);
  }
  std::byte* memory = free_;
  free_ += bytes;
  free_bytes_ -= bytes;
  return memory;
}

Delta::Cursor::Cursor(const Delta& delta, uint64_t sequence, std::string_view begin)
    : delta_(delta), sequence_(sequence), node_(delta.Seek(begin, sequence, nullptr)) {
  SkipInvisible();
}

std::string_view Delta::Cursor::key() const { return node_->key(); }
std::optional<std::string_view> Delta::Cursor::value() const { return node_->value(); }

void Delta::Cursor::Next() {
  // A key that is rewritten all the time has many nodes: seek behind them then.
  constexpr int kStepsMax = 8;
  const std::string_view done = node_->key();
  for (int steps = 0; node_ != nullptr && node_->key() == done; ++steps) {
    if (steps == kStepsMax) {
      node_ = delta_.Seek(done, 0, nullptr);
      // Sequence numbers start at 1, so this is the next key already.
      break;
    }
    node_ = node_->next();
  }
  SkipInvisible();
}

void Delta::Cursor::SkipInvisible() {
  while (node_ != nullptr && node_->sequence > sequence_) {
    node_ = delta_.Seek(node_->key(), sequence_, nullptr);
  }
}

}  // namespace varve
