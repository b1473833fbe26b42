// Plans the digest of a content that is another one with some ranges changed:
// which parts must be cut anew, and which keep the pieces of their base.
//
// Threads: free function.
// Units:   bytes.
#pragma once

#include <cstdint>
#include <vector>

#include "fs/core/content_recipe.h"
#include "fs/core/content_store.h"

namespace varve {

// A piece next to a change that is shorter than this is cut anew with it.
// Otherwise a file that grows line by line would fall into ever more tiny pieces.
inline constexpr uint64_t kSmallPieceBytes = 128u << 10;

// The parts of a content of `size_bytes` to cut anew: ascending, apart from each
// other, and such that every chunk of the base's recipe lies wholly inside or
// wholly outside of them. Holes of the base may be divided.
// REQUIRES: base.valid_bytes is at most the base's size.
Result<std::vector<ByteRange>> PlanCuts(RecipeCursor& recipe, const DigestBase& base,
                                        uint64_t size_bytes);

}  // namespace varve
