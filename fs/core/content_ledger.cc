#include "fs/core/content_ledger.h"

#include <utility>
#include <vector>

namespace varve {
namespace {

// Of keys and values; half of what a batch may hold, the caller adds his own rows.
constexpr uint64_t kBatchBytesMax = 4u << 20;
constexpr uint64_t kRowBytes = 16;  // what a row costs besides

}  // namespace

Status DigestLedger::RemoveOldRows() {
  RETURN_IF_ERROR(AppendTensorMapRemoval(catalog_, content_, &digested_.batch));
  for (std::string from = key::AllRecipe(content_).begin;;) {
    std::vector<std::string> old;
    RETURN_IF_ERROR(catalog_.Scan(from, key::AllRecipe(content_).end,
                                  [&](std::string_view row, std::string_view) {
                                    old.emplace_back(row);
                                    return old.size() < 1024;
                                  }));
    if (old.empty()) return {};
    from = old.back() + '\0';
    for (std::string& row : old) {
      batch_bytes_ += row.size() + kRowBytes;
      digested_.batch.Delete(std::move(row));
    }
    RETURN_IF_ERROR(FlushIfLarge());
  }
}

Status DigestLedger::PutTensorMap(const TensorMap& map, TensorHead head) {
  for (TensorRow& row : EncodeTensorRows(content_, map, std::move(head)))
    RETURN_IF_ERROR(Put(std::move(row.key), std::move(row.value)));
  return {};
}

Status DigestLedger::AddHole(uint64_t size) {
  digested_.hole_bytes += size;
  return AddPiece({size, ChunkId{}});
}

Status DigestLedger::AddShared(const ChunkId& id, uint64_t size) {
  digested_.shared_bytes += size;
  return AddPiece({size, id});
}

Status DigestLedger::AddInFlight(const ChunkId& id, const ChunkLocation& location) {
  if (!named_.insert(id).second) {
    in_flight_.Release({id}, catalog_);
  } else {
    digested_.new_chunks.push_back(id);
    RETURN_IF_ERROR(Put(key::Chunk(id), EncodeLocation(location)));
  }
  return AddShared(id, location.raw_bytes);
}

Status DigestLedger::AddNew(const ChunkId& id, const ChunkLocation& location) {
  named_.insert(id);
  digested_.new_chunks.push_back(id);
  digested_.new_bytes += location.raw_bytes;
  digested_.stored_bytes += location.stored_bytes;
  RETURN_IF_ERROR(Put(key::Chunk(id), EncodeLocation(location)));
  return AddPiece({location.raw_bytes, id});
}

Result<Digested> DigestLedger::Finish() {
  RETURN_IF_ERROR(PutSegments(/*last=*/true));
  return std::exchange(digested_, Digested());
}

Status DigestLedger::AddPiece(const Piece& piece) {
  recipe_.Add(piece);
  return PutSegments(/*last=*/false);
}

Status DigestLedger::PutSegments(bool last) {
  while (std::optional<RecipeWriter::Row> row = recipe_.Take(last))
    RETURN_IF_ERROR(Put(key::Recipe(content_, row->end_bytes), std::move(row->value)));
  return {};
}

Status DigestLedger::Put(std::string key, std::string value) {
  batch_bytes_ += key.size() + value.size() + kRowBytes;
  digested_.batch.Put(std::move(key), std::move(value));
  return FlushIfLarge();
}

Status DigestLedger::FlushIfLarge() {
  if (batch_bytes_ < kBatchBytesMax) return {};
  RETURN_IF_ERROR(packs_.Sync());
  RETURN_IF_ERROR(catalog_.Apply(digested_.batch));
  in_flight_.Release(digested_.new_chunks, catalog_);
  digested_.batch = Batch();
  digested_.new_chunks.clear();
  named_.clear();
  batch_bytes_ = 0;
  return {};
}

}  // namespace varve
