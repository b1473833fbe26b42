#include "fs/core/content_plan.h"

#include <algorithm>

namespace varve {
namespace {

bool Small(const PlacedPiece& placed) {
  return !placed.piece.hole() && placed.piece.size_bytes < kSmallPieceBytes;
}

// Where cutting starts so that `begin`, at most the valid end, is cut anew.
Result<uint64_t> Before(RecipeCursor& recipe, uint64_t begin, uint64_t valid) {
  if (begin < valid) {
    ASSIGN_OR_RETURN(const PlacedPiece placed, recipe.At(begin));
    if (placed.begin_bytes < begin) return placed.piece.hole() ? begin : placed.begin_bytes;
  }
  if (begin == 0) return begin;
  ASSIGN_OR_RETURN(const PlacedPiece previous, recipe.At(begin - 1));
  // At the end of what is valid the base's piece may go on.
  const bool crosses = previous.end_bytes() > begin && !previous.piece.hole();
  return crosses || Small(previous) ? previous.begin_bytes : begin;
}

// Where cutting stops so that all before `end`, less than the valid end, is cut anew.
Result<uint64_t> Behind(RecipeCursor& recipe, uint64_t end) {
  ASSIGN_OR_RETURN(const PlacedPiece placed, recipe.At(end));
  if (placed.begin_bytes < end) return placed.piece.hole() ? end : placed.end_bytes();
  return Small(placed) ? placed.end_bytes() : end;
}

}  // namespace

Result<std::vector<ByteRange>> PlanCuts(RecipeCursor& recipe, const DigestBase& base,
                                        uint64_t size_bytes) {
  const uint64_t valid = std::min(base.valid_bytes, size_bytes);
  std::vector<ByteRange> cuts;
  const auto add = [&](ByteRange cut) {
    if (cut.begin >= cut.end) return;
    if (!cuts.empty() && cut.begin <= cuts.back().end) {
      cuts.back().begin = std::min(cuts.back().begin, cut.begin);
      cuts.back().end = std::max(cuts.back().end, cut.end);
    } else {
      cuts.push_back(cut);
    }
  };
  for (const ByteRange& changed : base.changed) {
    const uint64_t begin = std::min(changed.begin, valid);
    const uint64_t end = std::min(changed.end, valid);
    if (begin >= end) continue;
    ASSIGN_OR_RETURN(const uint64_t from, Before(recipe, begin, valid));
    uint64_t to = end;
    if (end < valid) {
      ASSIGN_OR_RETURN(to, Behind(recipe, end));
    }
    // A piece that goes on behind the valid end cannot be kept.
    add({from, to > valid ? size_bytes : to});
  }
  if (valid > 0) {
    ASSIGN_OR_RETURN(const PlacedPiece last, recipe.At(valid - 1));
    const bool whole = last.end_bytes() <= valid || last.piece.hole();
    if (valid < size_bytes || !whole) {
      ASSIGN_OR_RETURN(const uint64_t from, Before(recipe, valid, valid));
      add({from, size_bytes});
    }
  } else {
    add({0, size_bytes});
  }
  return cuts;
}

}  // namespace varve
