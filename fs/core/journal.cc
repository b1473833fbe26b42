#include "fs/core/journal.h"

#include "fs/core/keys.h"

namespace varve {
namespace {

// Far below what a pack takes; a rebuild holds one record in memory.
constexpr size_t kRecordBytes = 8u << 20;

void Encode(const Batch::Change& change, std::string* bytes) {
  if (change.key[0] == key::kChunk) return;
  ByteWriter out(bytes);
  out.Text(change.key);
  out.U8(change.value ? 1 : 0);
  if (change.value) out.Text(*change.value);
}

}  // namespace

std::string EncodeJournal(const std::vector<Batch::Change>& changes) {
  std::string bytes;
  for (const Batch::Change& change : changes) Encode(change, &bytes);
  return bytes;
}

Status WriteJournal(PackStore& packs, uint64_t sequence,
                    const std::vector<Batch::Change>& changes) {
  std::string bytes;
  bool any = false;
  for (const Batch::Change& change : changes) {
    Encode(change, &bytes);
    const bool last = &change == &changes.back();
    if (bytes.empty() || (!last && bytes.size() < kRecordBytes)) continue;
    RETURN_IF_ERROR(packs.AppendJournal(sequence, AsBytes(bytes)));
    bytes.clear();
    any = true;
  }
  return any ? packs.Sync() : Status();
}

Result<std::vector<Batch::Change>> DecodeJournal(std::string_view bytes) {
  std::vector<Batch::Change> changes;
  ByteReader in(bytes);
  while (in.ok() && in.remaining() > 0) {
    Batch::Change change;
    change.key = in.Text();
    const uint8_t present = in.U8();
    if (present == 1) change.value = std::string(in.Text());
    if (!in.ok() || change.key.empty() || present > 1)
      return Status(Code::kCorrupt, "a journal is damaged");
    changes.push_back(std::move(change));
  }
  return changes;
}

}  // namespace varve
