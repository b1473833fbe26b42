#include "tests/support/journal_world.h"

#include <set>

#include "fs/core/journal.h"
#include "fs/core/keys.h"
#include "fs/core/replay.h"

namespace varve::testing {
namespace {

constexpr uint64_t kKeys = 60;

}  // namespace

Rows RowsOf(Catalog& catalog) {
  Rows rows;
  const Status scanned = catalog.Scan("", "", [&](std::string_view key, std::string_view value) {
    if (key[0] != key::kChunk) rows.emplace(key, value);
    return true;
  });
  CHECK(scanned.ok());
  return rows;
}

Result<Rebuilt> RebuildRows(PackStore& packs) {
  const ReplayProgressFn silent;
  Replay replay(packs, silent);
  RETURN_IF_ERROR(replay.FindJournals());
  SimDisk disk;
  MemoryKeyValueStore index;
  CatalogOptions options;
  options.sequence_floor = replay.journals().newest_sequence();
  ASSIGN_OR_RETURN(const std::unique_ptr<Catalog> catalog,
                   OpenCatalog(index, disk, "log", options));
  RETURN_IF_ERROR(replay.Fill(*catalog));
  Rebuilt rebuilt{RowsOf(*catalog),
                  {},
                  replay.journals().base_sequence(),
                  replay.journals().newest_sequence(),
                  replay.journals().unfinished()};
  const key::Range chunks = key::Table(key::kChunk);
  RETURN_IF_ERROR(
      catalog->Scan(chunks.begin, chunks.end, [&](std::string_view key, std::string_view value) {
        rebuilt.places.emplace(key, value);
        return true;
      }));
  return rebuilt;
}

JournalWorld::JournalWorld(uint64_t seed) : random_(seed) {
  index_.SetWriteHook([this]() -> MemoryKeyValueStore::Verdict {
    if (disk_.crashed()) return {Status(Code::kIo), false};
    return {};
  });
  history_[0] = {};
}

Status JournalWorld::Open() {
  PackStoreOptions options;
  options.pack_bytes_target = static_cast<uint32_t>(random_.Between(5'000, 50'000));
  ASSIGN_OR_RETURN(packs_, OpenPackStore(disk_, "packs", fingerprinter_, options));
  ASSIGN_OR_RETURN(catalog_, OpenCatalog(index_, disk_, "log", {}));
  const uint64_t applied = catalog_->Stats().applied_sequence;
  history_.erase(history_.upper_bound(applied), history_.end());
  CHECK(history_.contains(applied) && RowsOf(*catalog_) == history_[applied]);
  return {};
}

Status JournalWorld::Change(size_t value_bytes_max) {
  // Tables before, at and behind that of the chunks.
  constexpr char kTables[] = {'A', 'C', 'D', 'I'};
  Batch batch;
  Rows rows = RowsOf(*catalog_);
  for (uint64_t i = random_.Between(1, 8); i > 0; --i) {
    const std::string key =
        kTables[random_.Below(std::size(kTables))] + std::to_string(random_.Below(kKeys));
    const bool put = random_.Chance(2, 3);
    const std::string value = random_.Bytes(random_.Below(value_bytes_max));
    if (key[0] != key::kChunk) rows.erase(key);
    if (key[0] != key::kChunk && put) rows[key] = value;
    put ? batch.Put(key, value) : batch.Delete(key);
  }
  // Applied or not, that number has it or is given again.
  history_[catalog_->Stats().applied_sequence + 1] = std::move(rows);
  return catalog_->Apply(batch);
}

Status JournalWorld::Commit() {
  const uint64_t applied = catalog_->Stats().applied_sequence;
  RETURN_IF_ERROR(
      catalog_->Commit([this](uint64_t sequence, const std::vector<Batch::Change>& changes) {
        return WriteJournal(*packs_, sequence, changes);
      }));
  committed_ = applied;
  return {};
}

Result<uint64_t> JournalWorld::WriteBase() {
  return WriteBaseJournal(*packs_, *catalog_, [this]() -> Status {
    // What others do while the rows are read; some of it the rows may show.
    while (random_.Chance(1, 2)) RETURN_IF_ERROR(Change());
    return Commit();
  });
}

Status JournalWorld::RemoveOldPacks() {
  RETURN_IF_ERROR(packs_->Seal());
  ASSIGN_OR_RETURN(const JournalSet journals, JournalSet::Find(*packs_));
  const std::set<uint32_t> needed = journals.NeededPacks();
  for (const uint32_t pack : packs_->Packs())
    if (!needed.contains(pack)) RETURN_IF_ERROR(packs_->Remove(pack));
  return {};
}

void JournalWorld::PowerCut() {
  catalog_.reset();
  packs_.reset();
  disk_.PowerCut(random_.Next());
}

}  // namespace varve::testing
