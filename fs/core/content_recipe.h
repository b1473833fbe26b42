// Recipes as rows of the index: the pieces of a content, in order, in segments.
//
// A segment holds up to kSegmentPiecesMax pieces and is found by the offset where
// it *ends* (key::Recipe), so the segment that holds a byte is the first row behind
// that byte's offset: one look-up, however long the content is.
//
// Threads:  free functions; a RecipeCursor or RecipeWriter belongs to one thread.
// Errors:   kCorrupt on rows that were not written here. Decoding allocates a
//           bounded amount, whatever the bytes are.
// Units:    bytes.
// Format:   docs/FORMAT.md, "Recipes".
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "fs/core/keys.h"
#include "index/catalog.h"
#include "store/base/result.h"
#include "store/chunk/chunk.h"

namespace varve {

inline constexpr size_t kSegmentPiecesMax = 96;
// Of one content; far above what a file may have.
inline constexpr uint64_t kContentBytesMax = uint64_t{1} << 60;

struct RecipeSegment {
  uint64_t begin_bytes = 0;
  uint64_t end_bytes = 0;
  std::vector<Piece> pieces;  // at least one; their sizes fill the segment
};

// REQUIRES: 1 to kSegmentPiecesMax pieces, as DecodeSegment accepts them.
std::string EncodeSegment(std::span<const Piece> pieces);
// `end_bytes` is key::Offset of the row's key.
Result<RecipeSegment> DecodeSegment(uint64_t end_bytes, std::string_view value);

// The segment that holds byte `offset`; nothing when the recipe ends before it.
Result<std::optional<RecipeSegment>> FindSegment(Catalog& catalog, ContentId content,
                                                 uint64_t offset);

// The value of a key::Chunk row.
std::string EncodeLocation(const ChunkLocation& location);
Result<ChunkLocation> DecodeLocation(std::string_view value);
Result<std::optional<ChunkLocation>> FindLocation(Catalog& catalog, const ChunkId& id);

// "0123456789abcdef…", for messages.
std::string ToText(const ChunkId& id);

// A piece and where it lies in its content.
struct PlacedPiece {
  uint64_t begin_bytes = 0;
  Piece piece;
  uint64_t end_bytes() const { return begin_bytes + piece.size_bytes; }
};

// Walks a recipe; keeps the segment it was in.
class RecipeCursor {
 public:
  RecipeCursor(Catalog& catalog, ContentId content) : catalog_(catalog), content_(content) {}

  // The piece that holds byte `offset`. Fails with kCorrupt when there is none.
  Result<PlacedPiece> At(uint64_t offset);

 private:
  Catalog& catalog_;
  const ContentId content_;
  RecipeSegment segment_;
};

// Collects pieces and hands out finished segments.
class RecipeWriter {
 public:
  // Holes that touch become one.
  void Add(const Piece& piece);
  // Moves the segment out when it is full, or, with `last`, when there is one.
  struct Row {
    uint64_t end_bytes = 0;
    std::string value;
  };
  std::optional<Row> Take(bool last);
  // Where the next piece begins.
  uint64_t end_bytes() const { return end_bytes_; }

 private:
  std::vector<Piece> pieces_;
  uint64_t end_bytes_ = 0;
};

}  // namespace varve
