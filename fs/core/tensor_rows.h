// The tensor map of a stored content as rows of the index: a head that tells what it is
// like, and the map itself in parts, compressed.
//
// Threads: free functions.
// Errors:  kCorrupt on rows that were not written here. Decoding takes bounded memory.
// Format:  docs/FORMAT.md, "Tensor maps".
#pragma once

#include <optional>
#include <string>

#include "fs/core/keys.h"
#include "fs/core/tensor_sketch.h"
#include "index/catalog.h"
#include "store/base/result.h"
#include "store/format/tensor_map.h"

namespace varve {

struct TensorHead {
  ContentFormat format = ContentFormat::kPlain;
  uint64_t tensors = 0;
  uint32_t parts = 0;
  uint64_t signature = 0;
  uint64_t architecture = 0;  // the same without types; 0 in rows that lack it
  // What its tensors are made from; itself, if it was found that nothing is gained by any; 0: not
  // judged.
  ContentId base = 0;
  Sketch sketch;
};

// A map whose text is longer is used while the content is digested, and not kept.
inline constexpr size_t kTensorMapBytesMax = 16u << 20;

struct TensorRow {
  std::string key;
  std::string value;
};
// None for a map that is too long. `head.format`, `tensors` and `parts` are filled in here.
std::vector<TensorRow> EncodeTensorRows(ContentId content, const TensorMap& map, TensorHead head);

// For the batch that removes the content, or digests it anew.
Status AppendTensorMapRemoval(Catalog& catalog, ContentId content, Batch* batch);

// The first of the rows; the others do not change with it.
std::string EncodeTensorHead(const TensorHead& head);
Result<TensorHead> DecodeTensorHead(std::string_view value);
// Nothing if there is none for the content.
Result<std::optional<TensorHead>> FindTensorHead(Catalog& catalog, ContentId content);
Result<std::optional<TensorMap>> FindTensorMap(Catalog& catalog, ContentId content);

}  // namespace varve
