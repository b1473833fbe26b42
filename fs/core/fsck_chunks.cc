#include "fs/core/fsck_chunks.h"

#include <fmt/format.h>

#include <algorithm>
#include <map>
#include <unordered_set>

#include "fs/core/content_recipe.h"

namespace varve {
namespace {

bool IsMade(const ChunkLocation& location) { return HasBase(location.encoding); }

}  // namespace

std::string DamageKey(uint32_t pack, uint64_t offset_bytes) {
  return key::Meta(fmt::format("damaged_pack/{:08x}/{:08x}", pack, offset_bytes));
}

Status ChunkTable::Load(FsckContext& context) {
  RETURN_IF_ERROR(LoadRows(context));
  RETURN_IF_ERROR(ScanPacks(context));
  // Of several copies the last one stays: it was made because the first was damaged. But one
  // that needs no base is better than any that does.
  std::stable_sort(copies_.begin(), copies_.end(), [](const Row& a, const Row& b) {
    if (a.id != b.id) return a.id < b.id;
    return IsMade(a.location) && !IsMade(b.location);
  });
  const auto last_of_each = [](const Row& a, const Row& b) { return a.id == b.id; };
  copies_.erase(copies_.begin(),
                std::unique(copies_.rbegin(), copies_.rend(), last_of_each).base());
  SettleAll();
  RETURN_IF_ERROR(FixRows(context));
  FsckReport& report = context.report();
  report.chunks = rows_.size();
  for (const Row& row : rows_) report.stored_bytes += row.location.stored_bytes;
  return Status();
}

Status ChunkTable::LoadRows(FsckContext& context) {
  return context.ScanTable(key::kChunk, [&](std::string_view row_key, std::string_view value) {
    const Result<ChunkLocation> location = DecodeLocation(value);
    if (!location.ok()) return;
    Row row;
    std::memcpy(row.id.bytes.data(), row_key.data() + 1, row.id.bytes.size());
    row.location = *location;
    rows_.push_back(row);
  });
}

Status ChunkTable::ScanPacks(FsckContext& context) {
  const std::vector<uint32_t> packs = context.d.packs.Packs();
  context.report().packs = packs.size();
  for (size_t i = 0; i < packs.size(); ++i) {
    context.Progress(context.verify_data() ? "verifying packs" : "reading packs", i, packs.size());
    RETURN_IF_ERROR(ScanPack(context, packs[i]));
  }
  return Status();
}

Status ChunkTable::ScanPack(FsckContext& context, uint32_t pack) {
  std::vector<std::pair<uint64_t, std::string>> damage;
  PackStore::ScanSink sink;
  sink.on_chunk = [this](const ChunkId& id, const ChunkLocation& location) {
    SeeChunk(id, location);
  };
  sink.on_journal = [&context](uint64_t, ByteView) { ++context.report().journals; };
  sink.on_damage = [&damage](uint64_t offset, const std::string& why) {
    damage.emplace_back(offset, why);
  };
  const Status scanned = context.d.packs.Scan(pack, context.verify_data(), sink);
  if (scanned.code() == Code::kUnsupported) return scanned;
  // What cannot be read is damage like any other, and does not end the check.
  if (!scanned.ok()) damage.emplace_back(0, scanned.ToString());
  for (const auto& [offset, why] : damage) {
    const std::string row_key = DamageKey(pack, offset);
    ASSIGN_OR_RETURN(const std::optional<std::string> known, context.d.catalog.Get(row_key));
    const std::string what =
        fmt::format("pack {:08x} is damaged at byte {}: {}", pack, offset, why);
    if (known) {
      context.Note(what + " (known from an earlier repair)");
      continue;
    }
    context.Found(what, "it is noted as known; the contents that need it are marked");
    if (!context.repair()) continue;
    Batch batch;
    batch.Put(row_key, why.substr(0, 1024));
    RETURN_IF_ERROR(context.Apply(batch));
  }
  return Status();
}

void ChunkTable::SeeChunk(const ChunkId& id, const ChunkLocation& location) {
  Row* row = const_cast<Row*>(FindRow(rows_, id));
  if (row != nullptr && row->location == location) {
    row->intact = true;
  } else if (row == nullptr || !row->intact || IsMade(row->location)) {  // whose base may be lost
    copies_.push_back({id, location, true});
  }
}

const ChunkTable::Row* ChunkTable::FindRow(const std::vector<Row>& rows, const ChunkId& id) const {
  const auto found =
      std::lower_bound(rows.begin(), rows.end(), id,
                       [](const Row& row, const ChunkId& wanted) { return row.id < wanted; });
  return found != rows.end() && found->id == id ? &*found : nullptr;
}

Status ChunkTable::FixRows(FsckContext& context) {
  std::map<uint32_t, uint64_t> lost;  // by pack
  std::vector<Batch::Change> changes;
  for (Row& row : rows_) {
    if (row.intact) continue;
    const Row* copy = FindRow(copies_, row.id);
    if (copy == nullptr) {
      ++lost[row.location.pack];
      changes.push_back({key::Chunk(row.id), std::nullopt});
      continue;
    }
    context.Found(fmt::format("chunk {} is not where the index says, pack {:08x} at byte {}",
                              ToText(row.id), row.location.pack, row.location.offset_bytes),
                  fmt::format("it is read from pack {:08x} at byte {}", copy->location.pack,
                              copy->location.offset_bytes));
    row = *copy;
    changes.push_back({key::Chunk(row.id), EncodeLocation(row.location)});
  }
  const std::vector<uint32_t> packs = context.d.packs.Packs();
  for (const auto& [pack, count] : lost) {
    const bool present = std::binary_search(packs.begin(), packs.end(), pack);
    context.Found(fmt::format("pack {:08x} {} {} chunks that the index places there", pack,
                              present ? "does not hold" : "is gone, and with it", count),
                  "their places are forgotten, so that they are stored anew when they are "
                  "written again");
  }
  std::erase_if(rows_, [](const Row& row) { return !row.intact; });
  if (context.repair()) RETURN_IF_ERROR(context.ApplyAll(changes));
  return AddBases(context);
}

bool ChunkTable::IsSettled(const ChunkId& id) const {
  const Row* row = FindRow(rows_, id);
  if (row != nullptr && row->settled) return true;
  const Row* copy = FindRow(copies_, id);
  return copy != nullptr && copy->settled;
}

// One after the other, so that no chain of bases comes back to where it began.
bool ChunkTable::SettleMade(std::vector<Row>* rows) {
  bool any = false;
  for (bool more = true; more;) {
    more = false;
    for (Row& row : *rows) {
      if (!row.intact || !IsMade(row.location) || IsSettled(row.id)) continue;
      if (!IsSettled(row.location.base)) continue;
      row.settled = more = any = true;
    }
  }
  return any;
}

void ChunkTable::SettleAll() {
  for (Row& row : rows_) row.settled = row.intact && !IsMade(row.location);
  SettleMade(&rows_);
  for (Row& copy : copies_) copy.settled = !IsMade(copy.location) && !IsSettled(copy.id);
  do {
    SettleMade(&rows_);
  } while (SettleMade(&copies_));
  for (Row& row : rows_) row.intact = row.settled;
  std::erase_if(copies_, [](const Row& copy) { return !copy.settled; });
}

Status ChunkTable::AddBases(FsckContext& context) {
  std::vector<Batch::Change> changes;
  for (bool added = true; added;) {
    added = false;
    std::unordered_set<ChunkId, ChunkIdHash> missing;
    for (const Row& row : rows_) {
      if (IsMade(row.location) && FindRow(rows_, row.location.base) == nullptr)
        missing.insert(row.location.base);
    }
    for (const ChunkId& id : missing) {
      const Row* copy = FindRow(copies_, id);
      CHECK(copy != nullptr);
      changes.push_back({key::Chunk(id), EncodeLocation(copy->location)});
      restored_.push_back(*copy);
      added = true;
    }
    Settle();
  }
  if (changes.empty()) return Status();
  context.Found(
      fmt::format("{} chunks that others are made from are not in the index", changes.size()),
      "their places are entered again, from the packs");
  return context.repair() ? context.ApplyAll(changes) : Status();
}

ChunkTable::Presence ChunkTable::Find(const ChunkId& id, uint64_t size_bytes) const {
  const Row* row = FindRow(rows_, id);
  if (row != nullptr)
    return row->location.raw_bytes == size_bytes ? Presence::kIntact : Presence::kLost;
  row = FindRow(copies_, id);
  if (row != nullptr && row->location.raw_bytes == size_bytes) return Presence::kNoRow;
  return Presence::kLost;
}

void ChunkTable::Restore(const ChunkId& id, Batch* batch) {
  const Row* row = FindRow(copies_, id);
  CHECK(row != nullptr);
  batch->Put(key::Chunk(id), EncodeLocation(row->location));
  restored_.push_back(*row);
  // A chain of bases that ends in what is there: SettleAll().
  if (IsMade(row->location) && FindRow(rows_, row->location.base) == nullptr)
    Restore(row->location.base, batch);
}

void ChunkTable::Settle() {
  if (restored_.empty()) return;
  rows_.insert(rows_.end(), restored_.begin(), restored_.end());
  restored_.clear();
  const auto by_id = [](const Row& a, const Row& b) { return a.id < b.id; };
  const auto same_id = [](const Row& a, const Row& b) { return a.id == b.id; };
  std::sort(rows_.begin(), rows_.end(), by_id);
  rows_.erase(std::unique(rows_.begin(), rows_.end(), same_id), rows_.end());
}

}  // namespace varve
