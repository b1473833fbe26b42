#include "fs/core/content_recipe.h"

#include "store/base/bytes.h"
#include "store/base/check.h"

namespace varve {
namespace {

constexpr uint8_t kSegmentLayout = 1;
constexpr uint8_t kLocationLayout = 1;

Status Damaged(const char* what) {
  return Status(Code::kCorrupt, std::string("a row of the index is damaged: ") + what);
}

}  // namespace

std::string EncodeSegment(std::span<const Piece> pieces) {
  CHECK(!pieces.empty() && pieces.size() <= kSegmentPiecesMax);
  std::string value;
  value.reserve(2 + pieces.size() * 19);
  ByteWriter out(&value);
  out.U8(kSegmentLayout);
  out.Varint(pieces.size());
  for (const Piece& piece : pieces) {
    out.Varint(piece.size_bytes << 1 | (piece.hole() ? 1u : 0u));
    if (!piece.hole()) out.Raw(piece.id.bytes);
  }
  return value;
}

Result<RecipeSegment> DecodeSegment(uint64_t end_bytes, std::string_view value) {
  ByteReader in(value);
  const bool known = in.U8() == kSegmentLayout;
  const uint64_t count = in.Varint();
  if (!known || count == 0 || count > kSegmentPiecesMax) return Damaged("recipe segment");
  RecipeSegment segment;
  segment.end_bytes = end_bytes;
  segment.pieces.resize(static_cast<size_t>(count));
  uint64_t total = 0;
  for (Piece& piece : segment.pieces) {
    const uint64_t word = in.Varint();
    piece.size_bytes = word >> 1;
    const bool hole = (word & 1) != 0;
    if (!hole) {
      const ByteView id = in.Raw(piece.id.bytes.size());
      if (in.ok()) std::memcpy(piece.id.bytes.data(), id.data(), id.size());
    }
    const bool sound = piece.size_bytes > 0 && hole == piece.hole() &&
                       piece.size_bytes <= (hole ? kContentBytesMax : kChunkBytesMax);
    if (!in.ok() || !sound) return Damaged("recipe segment");
    total += piece.size_bytes;
    if (total > end_bytes || total > kContentBytesMax) return Damaged("recipe segment");
  }
  if (!in.Done()) return Damaged("recipe segment");
  segment.begin_bytes = end_bytes - total;
  return segment;
}

Result<std::optional<RecipeSegment>> FindSegment(Catalog& catalog, ContentId content,
                                                 uint64_t offset) {
  const key::Range range = key::AllRecipe(content, offset + 1);
  std::optional<Result<RecipeSegment>> found;
  RETURN_IF_ERROR(
      catalog.Scan(range.begin, range.end, [&](std::string_view row, std::string_view value) {
        found.emplace(DecodeSegment(key::Offset(row), value));
        return false;
      }));
  if (!found) return std::optional<RecipeSegment>();
  if (!found->ok()) return found->status();
  if ((*found)->begin_bytes > offset) return Damaged("recipe with a gap");
  return std::optional<RecipeSegment>(std::move(*found).value());
}

std::string EncodeLocation(const ChunkLocation& location) {
  std::string value;
  ByteWriter out(&value);
  out.U8(kLocationLayout);
  out.U8(static_cast<uint8_t>(location.encoding));
  out.Varint(location.pack);
  out.Varint(location.offset_bytes);
  out.Varint(location.stored_bytes);
  out.Varint(location.raw_bytes);
  if (HasBase(location.encoding)) out.Raw(location.base.bytes);
  return value;
}

Result<ChunkLocation> DecodeLocation(std::string_view value) {
  ByteReader in(value);
  const bool known = in.U8() == kLocationLayout;
  const auto encoding = static_cast<Encoding>(in.U8());
  uint64_t words[4];
  for (uint64_t& word : words) {
    word = in.Varint();
    if (word > UINT32_MAX) return Damaged("chunk location");
  }
  ChunkLocation location;
  location.encoding = encoding;
  location.pack = static_cast<uint32_t>(words[0]);
  location.offset_bytes = static_cast<uint32_t>(words[1]);
  location.stored_bytes = static_cast<uint32_t>(words[2]);
  location.raw_bytes = static_cast<uint32_t>(words[3]);
  if (HasBase(encoding)) {
    const ByteView base = in.Raw(location.base.bytes.size());
    if (in.ok()) std::memcpy(location.base.bytes.data(), base.data(), base.size());
    if (location.base == ChunkId{}) return Damaged("chunk location");
  }
  const bool sound =
      location.pack > 0 && location.raw_bytes > 0 && location.raw_bytes <= kChunkBytesMax;
  if (!known || !in.Done() || !sound) return Damaged("chunk location");
  return location;
}

Result<std::optional<ChunkLocation>> FindLocation(Catalog& catalog, const ChunkId& id) {
  ASSIGN_OR_RETURN(const std::optional<std::string> value, catalog.Get(key::Chunk(id)));
  if (!value) return std::optional<ChunkLocation>();
  ASSIGN_OR_RETURN(const ChunkLocation location, DecodeLocation(*value));
  return std::optional<ChunkLocation>(location);
}

std::string ToText(const ChunkId& id) {
  static constexpr char kDigits[] = "0123456789abcdef";
  std::string text;
  for (const uint8_t byte : id.bytes) {
    text.push_back(kDigits[byte >> 4]);
    text.push_back(kDigits[byte & 15]);
  }
  return text;
}

Result<PlacedPiece> RecipeCursor::At(uint64_t offset) {
  if (offset < segment_.begin_bytes || offset >= segment_.end_bytes) {
    ASSIGN_OR_RETURN(std::optional<RecipeSegment> found, FindSegment(catalog_, content_, offset));
    if (!found) {
      return Status(Code::kCorrupt, "the recipe of content " + std::to_string(content_) +
                                        " ends before byte " + std::to_string(offset));
    }
    segment_ = std::move(*found);
  }
  PlacedPiece placed{segment_.begin_bytes, {}};
  for (const Piece& piece : segment_.pieces) {
    placed.piece = piece;
    if (offset < placed.end_bytes()) break;
    placed.begin_bytes = placed.end_bytes();
  }
  return placed;
}

void RecipeWriter::Add(const Piece& piece) {
  CHECK(piece.size_bytes > 0);
  end_bytes_ += piece.size_bytes;
  if (piece.hole() && !pieces_.empty() && pieces_.back().hole()) {
    pieces_.back().size_bytes += piece.size_bytes;
  } else {
    pieces_.push_back(piece);
  }
}

std::optional<RecipeWriter::Row> RecipeWriter::Take(bool last) {
  if (pieces_.empty()) return std::nullopt;
  if (!last && pieces_.size() <= kSegmentPiecesMax) return std::nullopt;
  // A full segment goes only when the next piece is there: until then its last
  // hole may still grow.
  const size_t count = std::min(pieces_.size(), kSegmentPiecesMax);
  uint64_t behind = 0;
  for (size_t i = count; i < pieces_.size(); ++i) behind += pieces_[i].size_bytes;
  Row row{end_bytes_ - behind, EncodeSegment(std::span(pieces_).first(count))};
  pieces_.erase(pieces_.begin(), pieces_.begin() + static_cast<ptrdiff_t>(count));
  return row;
}

}  // namespace varve
