#include "fs/core/tensor_chunks.h"

#include <utility>

#include "fs/core/records.h"
#include "store/codec/difference_steps.h"
#include "store/format/tensor_regions.h"

namespace varve {
namespace {

ElementType ElementsIn(const Tensor& tensor) { return ElementsOf(tensor.dtype, tensor.big_endian); }

bool IsOfFloats(const Tensor& tensor) { return HasSteps(ElementsIn(tensor)); }

}  // namespace

Result<std::optional<TensorChunks>> TensorChunks::Open(Catalog& catalog, ContentId content) {
  ASSIGN_OR_RETURN(const std::optional<std::string> row, catalog.Get(key::Content(content)));
  if (!row) return std::optional<TensorChunks>();
  ASSIGN_OR_RETURN(const ContentRecord record, ContentRecord::Decode(*row));
  if (!record.stored || record.torn || record.purged) return std::optional<TensorChunks>();
  ASSIGN_OR_RETURN(std::optional<TensorMap> map, FindTensorMap(catalog, content));
  if (!map) return std::optional<TensorChunks>();
  return std::optional<TensorChunks>(TensorChunks(catalog, content, *std::move(map)));
}

TensorChunks::TensorChunks(Catalog& catalog, ContentId content, TensorMap map)
    : map_(std::make_shared<const TensorMap>(std::move(map))), recipe_(catalog, content) {
  for (const Tensor& tensor : map_->tensors)
    if (IsOfFloats(tensor)) by_name_.emplace(tensor.name, &tensor);
}

Status TensorChunks::ForEach(const std::function<Status(const TensorChunk&)>& visit) {
  for (const Tensor& tensor : map_->tensors) {
    if (!IsOfFloats(tensor) || tensor.end_bytes - tensor.begin_bytes < kRegionBytesMin) continue;
    for (uint64_t at = tensor.begin_bytes; at < tensor.end_bytes;) {
      ASSIGN_OR_RETURN(const PlacedPiece placed, recipe_.At(at));
      at = placed.end_bytes();
      // What tensors share is cut at the borders of the first of them.
      if (placed.begin_bytes < tensor.begin_bytes || at > tensor.end_bytes || placed.piece.hole())
        continue;
      RETURN_IF_ERROR(visit({&tensor, ElementsIn(tensor), placed.begin_bytes - tensor.begin_bytes,
                             placed.piece.size_bytes, placed.piece.id}));
    }
  }
  return Status();
}

Result<std::optional<TensorChunks::Found>> TensorChunks::Find(const TensorChunk& like) {
  using Nothing = std::optional<Found>;
  const auto named = by_name_.find(like.tensor->name);
  if (named == by_name_.end()) return Nothing();
  const Tensor& tensor = *named->second;
  const ElementType elements = ElementsIn(tensor);
  const uint64_t width = WidthOf(elements), like_width = WidthOf(like.elements);
  const uint64_t size = tensor.end_bytes - tensor.begin_bytes;
  if (size / width != (like.tensor->end_bytes - like.tensor->begin_bytes) / like_width)
    return Nothing();
  const uint64_t begin = tensor.begin_bytes + like.offset_bytes / like_width * width;
  if (begin >= tensor.end_bytes) return Nothing();
  ASSIGN_OR_RETURN(const PlacedPiece placed, recipe_.At(begin));
  if (placed.begin_bytes != begin || placed.piece.hole() ||
      placed.piece.size_bytes != like.size_bytes / like_width * width)
    return Nothing();
  return Nothing(Found{placed.piece.id, elements});
}

}  // namespace varve
