#include "fs/core/tensor_chunks.h"

#include <utility>

#include "fs/core/records.h"
#include "store/codec/elements.h"
#include "store/format/tensor_regions.h"

namespace varve {

bool HasSteps(const Tensor& tensor) {
  const ElementType elements = ElementsOf(tensor.dtype, tensor.big_endian);
  return elements == ElementType::kF16 || elements == ElementType::kBF16 ||
         elements == ElementType::kF32;
}

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
    if (HasSteps(tensor)) by_name_.emplace(tensor.name, &tensor);
}

Status TensorChunks::ForEach(const std::function<Status(const TensorChunk&)>& visit) {
  for (const Tensor& tensor : map_->tensors) {
    if (!HasSteps(tensor) || tensor.end_bytes - tensor.begin_bytes < kRegionBytesMin) continue;
    for (uint64_t at = tensor.begin_bytes; at < tensor.end_bytes;) {
      ASSIGN_OR_RETURN(const PlacedPiece placed, recipe_.At(at));
      at = placed.end_bytes();
      // What tensors share is cut at the borders of the first of them.
      if (placed.begin_bytes < tensor.begin_bytes || at > tensor.end_bytes || placed.piece.hole())
        continue;
      RETURN_IF_ERROR(visit({&tensor, placed.begin_bytes - tensor.begin_bytes,
                             placed.piece.size_bytes, placed.piece.id}));
    }
  }
  return Status();
}

Result<std::optional<ChunkId>> TensorChunks::Find(const TensorChunk& like) {
  const auto found = by_name_.find(like.tensor->name);
  if (found == by_name_.end()) return std::optional<ChunkId>();
  const Tensor& tensor = *found->second;
  const uint64_t size = tensor.end_bytes - tensor.begin_bytes;
  if (tensor.dtype != like.tensor->dtype ||
      size != like.tensor->end_bytes - like.tensor->begin_bytes)
    return std::optional<ChunkId>();
  const uint64_t begin = tensor.begin_bytes + like.offset_bytes;
  ASSIGN_OR_RETURN(const PlacedPiece placed, recipe_.At(begin));
  if (placed.begin_bytes != begin || placed.piece.size_bytes != like.size_bytes ||
      placed.piece.hole())
    return std::optional<ChunkId>();
  return std::optional<ChunkId>(placed.piece.id);
}

}  // namespace varve
