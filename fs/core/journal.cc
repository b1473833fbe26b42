#include "fs/core/journal.h"

#include <optional>
#include <utility>

#include "fs/core/keys.h"
#include "fs/core/row_pages.h"

namespace varve {
namespace {

// Far below what a pack takes; a rebuild holds one record in memory.
constexpr size_t kRecordBytes = 8u << 20;

void EncodeRow(std::string_view key, std::optional<std::string_view> value, std::string* bytes) {
  ByteWriter out(bytes);
  out.Text(key);
  out.U8(value ? 1 : 0);
  if (value) out.Text(*value);
}

void Encode(const Batch::Change& change, std::string* bytes) {
  if (change.key[0] != key::kChunk) EncodeRow(change.key, change.value, bytes);
}

std::vector<key::Range> AllButChunks() {
  const key::Range chunks = key::Table(key::kChunk);
  return {{"", chunks.begin}, {chunks.end, ""}};
}

// The next parts of a base journal; `label` is that of the last one.
Status WriteRows(PackStore& packs, Catalog& catalog, key::Range rows, JournalLabel* label) {
  while (true) {
    // Nothing is appended while a scan runs: an append may wait for the disk.
    std::string bytes;
    bool full = false;
    std::string next;
    RETURN_IF_ERROR(
        catalog.Scan(rows.begin, rows.end, [&](std::string_view key, std::string_view value) {
          EncodeRow(key, value, &bytes);
          full = bytes.size() >= kRecordBytes;
          if (full) next = std::string(key) + '\0';
          return !full;
        }));
    if (bytes.empty()) return {};
    ++label->part;
    RETURN_IF_ERROR(packs.AppendBaseJournal(*label, AsBytes(bytes)));
    if (!full) return {};
    rows.begin = std::move(next);
  }
}

}  // namespace

std::string EncodeJournal(const std::vector<Batch::Change>& changes) {
  std::string bytes;
  for (const Batch::Change& change : changes) Encode(change, &bytes);
  return bytes;
}

Status WriteJournal(PackStore& packs, uint64_t sequence, const std::vector<Batch::Change>& changes,
                    RoomFor room) {
  std::string bytes;
  bool any = false;
  for (const Batch::Change& change : changes) {
    Encode(change, &bytes);
    const bool last = &change == &changes.back();
    if (bytes.empty() || (!last && bytes.size() < kRecordBytes)) continue;
    RETURN_IF_ERROR(packs.AppendJournal(sequence, AsBytes(bytes), room));
    bytes.clear();
    any = true;
  }
  return any ? packs.Sync() : Status();
}

Result<uint64_t> BaseJournalBytes(Catalog& catalog) {
  uint64_t bytes = 0;
  std::string row;
  for (const key::Range& rows : AllButChunks()) {
    const Status walked = ForEachPage(catalog, rows, [&](const RowPage& page) {
      for (const auto& [row_key, value] : page) {
        row.clear();
        EncodeRow(row_key, value, &row);
        bytes += row.size();
      }
      return Status();
    });
    RETURN_IF_ERROR(walked);
  }
  return bytes;
}

Result<uint64_t> WriteBaseJournal(PackStore& packs, Catalog& catalog,
                                  const std::function<Status()>& commit) {
  JournalLabel label;
  // Before any row is read: a commit that ends later is repeated by its own journal.
  label.sequence = catalog.Stats().committed_sequence;
  for (const key::Range& rows : AllButChunks())
    RETURN_IF_ERROR(WriteRows(packs, catalog, rows, &label));
  RETURN_IF_ERROR(commit());
  label.parts = ++label.part;
  RETURN_IF_ERROR(packs.AppendBaseJournal(label, {}));
  RETURN_IF_ERROR(packs.Sync());
  return label.sequence;
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
