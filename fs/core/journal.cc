#include "fs/core/journal.h"

#include "fs/core/keys.h"

namespace varve {

std::string EncodeJournal(const std::vector<Batch::Change>& changes) {
  std::string bytes;
  ByteWriter out(&bytes);
  for (const Batch::Change& change : changes) {
    if (change.key[0] == key::kChunk) continue;
    out.Text(change.key);
    out.U8(change.value ? 1 : 0);
    if (change.value) out.Text(*change.value);
  }
  return bytes;
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
