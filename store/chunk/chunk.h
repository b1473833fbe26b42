// The vocabulary of chunks: their names, where they lie, what a content is made of.
//
// Threads: values.
// Format:  docs/FORMAT.md, "Chunk names", "Pack file", "Recipes".
#pragma once

#include <array>
#include <compare>
#include <cstdint>
#include <cstring>
#include <functional>

namespace varve {

// The most that a chunk holds before encoding.
inline constexpr uint32_t kChunkBytesMax = 1u << 20;

// 128-bit XXH3 of the chunk's bytes under the store's secret. Not cryptographic:
// whoever shares two chunks has compared their bytes. All zero never names a chunk.
struct ChunkId {
  std::array<uint8_t, 16> bytes{};
  auto operator<=>(const ChunkId&) const = default;
};

// Eight bytes of the name: for sets in which it does no harm that two may share them.
inline uint64_t ShortName(const ChunkId& id) {
  uint64_t word;
  std::memcpy(&word, id.bytes.data(), sizeof(word));
  return word;
}

struct ChunkIdHash {
  size_t operator()(const ChunkId& id) const { return static_cast<size_t>(ShortName(id)); }
};

// How a chunk's bytes are kept in its pack. Values are on disk; never reuse one.
enum class Encoding : uint8_t {
  kRaw = 0,
  kZstd = 1,
  kPlanes = 2,      // byte planes of floats
  kDifference = 3,  // floats as steps from those of another chunk of the same size
  kCast = 4,        // floats that are those of another chunk in another type
};

// Whether another chunk, the base, is needed to make its bytes.
constexpr bool HasBase(Encoding encoding) {
  return encoding == Encoding::kDifference || encoding == Encoding::kCast;
}

// Where an encoded chunk lies. `offset_bytes` is that of its record's header.
struct ChunkLocation {
  uint32_t pack = 0;  // 1, 2, …; 0 is nowhere
  uint32_t offset_bytes = 0;
  uint32_t stored_bytes = 0;  // payload, without the record header
  uint32_t raw_bytes = 0;
  Encoding encoding = Encoding::kRaw;
  ChunkId base{};  // what the bytes are made from; all zero unless HasBase(encoding)
  auto operator<=>(const ChunkLocation&) const = default;
};

// One piece of a content, in order: `size_bytes` bytes of chunk `id`, or a hole
// that reads as zeros when `id` is all zero (then any size).
struct Piece {
  uint64_t size_bytes = 0;
  ChunkId id;
  bool hole() const { return id == ChunkId{}; }
};

}  // namespace varve
