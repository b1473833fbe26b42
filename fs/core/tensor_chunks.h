// The chunks of a content's tensors, by tensor and place.
//
// Threads: belongs to one thread.
// Errors:  those of the catalog; kCorrupt for a recipe that has gaps.
// Memory:  the tensor map.
#pragma once

#include <functional>
#include <memory>
#include <optional>
#include <string_view>
#include <unordered_map>

#include "fs/core/content_recipe.h"
#include "fs/core/tensor_rows.h"
#include "store/codec/elements.h"

namespace varve {

// A chunk that holds nothing but bytes of one tensor of floats.
struct TensorChunk {
  const Tensor* tensor = nullptr;
  ElementType elements = ElementType::kBytes;
  uint64_t offset_bytes = 0;  // in the tensor
  uint64_t size_bytes = 0;
  ChunkId id;
};

class TensorChunks {
 public:
  // Nothing if the content is not stored, or has no map.
  static Result<std::optional<TensorChunks>> Open(Catalog& catalog, ContentId content);

  Status ForEach(const std::function<Status(const TensorChunk&)>& visit);
  // The chunk that has the same elements of the tensor of the same name; nothing if that is cut
  // in another way, or has more or fewer.
  struct Found {
    ChunkId id;
    ElementType elements = ElementType::kBytes;
  };
  Result<std::optional<Found>> Find(const TensorChunk& like);

 private:
  TensorChunks(Catalog& catalog, ContentId content, TensorMap map);

  std::shared_ptr<const TensorMap> map_;  // which the names point into
  std::unordered_map<std::string_view, const Tensor*> by_name_;
  RecipeCursor recipe_;
};

}  // namespace varve
