#include "fs/core/rebuild.h"

#include <algorithm>
#include <vector>

#include "fs/core/content_recipe.h"
#include "fs/core/journal.h"
#include "fs/core/keys.h"
#include "fs/core/records.h"
#include "index/catalog.h"

namespace varve {
namespace {

constexpr char kIndex[] = "index";
constexpr char kLog[] = "log";
constexpr char kNewIndex[] = "index.rebuild";
constexpr char kNewLog[] = "log.rebuild";
constexpr uint64_t kBatchBytes = 1u << 20;
constexpr uint64_t kCommitBytes = 32u << 20;

// Of files only, as index and log are. No failure if it is not there.
Status RemoveDirectory(Disk& disk, const std::string& path) {
  const Result<std::vector<std::string>> names = disk.List(path);
  if (names.status().code() == Code::kNotFound) return Status();
  RETURN_IF_ERROR(names.status());
  for (const std::string& name : *names) RETURN_IF_ERROR(disk.Remove(path + "/" + name));
  return disk.Remove(path);
}

bool Exists(Disk& disk, const std::string& path) { return disk.Stat(path).ok(); }

class Rebuild {
 public:
  Rebuild(Disk& disk, PackStore& packs,
          const std::function<void(std::string_view, uint64_t, uint64_t)>& progress)
      : disk_(disk), packs_(packs), progress_(progress) {}

  Result<RebuildReport> Run(const std::string& store_path);

 private:
  // A journal record, by the pack that holds it and its place among the pack's.
  struct Place {
    uint64_t sequence = 0;
    uint32_t pack = 0;
    uint32_t ordinal = 0;
  };

  Status FindJournals();
  Status Build();
  Status AddChunks(uint32_t pack);
  // The journals [*at, …) that one pass over their pack can read in order.
  Status Replay(size_t* at);
  Status ReplayRecord(ByteView record);
  Status DropHotCopies();
  Status Add(std::string key, std::optional<std::string> value);
  Status Flush();
  Status MoveIntoPlace();
  void Progress(std::string_view what, uint64_t done, uint64_t total) const {
    if (progress_) progress_(what, done, total);
  }

  Disk& disk_;
  PackStore& packs_;
  const std::function<void(std::string_view, uint64_t, uint64_t)>& progress_;

  std::vector<Place> journals_;
  Catalog* catalog_ = nullptr;
  Batch batch_;
  uint64_t batch_bytes_ = 0;
  uint64_t uncommitted_bytes_ = 0;
  RebuildReport report_;
};

Result<RebuildReport> Rebuild::Run(const std::string& store_path) {
  RETURN_IF_ERROR(FindJournals());
  if (journals_.empty())
    return Status(Code::kCorrupt, "the packs of " + store_path +
                                      " hold no journal: there is nothing to rebuild from");
  for (const char* leftover : {kNewIndex, kNewLog})
    RETURN_IF_ERROR(RemoveDirectory(disk_, leftover));
  {
    ASSIGN_OR_RETURN(const std::unique_ptr<KeyValueStore> rows,
                     OpenLmdb(store_path + "/" + kNewIndex));
    CatalogOptions options;
    options.sequence_floor = journals_.back().sequence;
    ASSIGN_OR_RETURN(const std::unique_ptr<Catalog> catalog,
                     OpenCatalog(*rows, disk_, kNewLog, options));
    catalog_ = catalog.get();
    const Status built = Build();
    catalog_ = nullptr;
    RETURN_IF_ERROR(built);
  }
  RETURN_IF_ERROR(MoveIntoPlace());
  return report_;
}

Status Rebuild::FindJournals() {
  const std::vector<uint32_t> packs = packs_.Packs();
  for (size_t i = 0; i < packs.size(); ++i) {
    Progress("looking for journals", i, packs.size());
    uint32_t ordinal = 0;
    PackStore::ScanSink sink;
    sink.on_journal = [&](uint64_t sequence, ByteView) {
      journals_.push_back({sequence, packs[i], ordinal++});
    };
    RETURN_IF_ERROR(packs_.Scan(packs[i], /*verify_payload=*/false, sink));
  }
  // A commit in several records has them in their order.
  std::stable_sort(journals_.begin(), journals_.end(),
                   [](const Place& a, const Place& b) { return a.sequence < b.sequence; });
  return Status();
}

Status Rebuild::Build() {
  const std::vector<uint32_t> packs = packs_.Packs();
  for (size_t i = 0; i < packs.size(); ++i) {
    Progress("placing chunks", i, packs.size());
    RETURN_IF_ERROR(AddChunks(packs[i]));
  }
  for (size_t at = 0; at < journals_.size();) {
    Progress("replaying journals", at, journals_.size());
    RETURN_IF_ERROR(Replay(&at));
  }
  RETURN_IF_ERROR(Flush());
  RETURN_IF_ERROR(DropHotCopies());
  RETURN_IF_ERROR(Flush());
  return catalog_->Commit({});
}

Status Rebuild::AddChunks(uint32_t pack) {
  Status failed;
  PackStore::ScanSink sink;
  // Of two copies the later one stays: it was made because the first was damaged.
  sink.on_chunk = [&](const ChunkId& id, const ChunkLocation& location) {
    ++report_.chunks;
    if (failed.ok()) failed = Add(key::Chunk(id), EncodeLocation(location));
  };
  RETURN_IF_ERROR(packs_.Scan(pack, /*verify_payload=*/false, sink));
  return failed;
}

Status Rebuild::Replay(size_t* at) {
  const uint32_t pack = journals_[*at].pack;
  Status failed;
  uint32_t ordinal = 0;
  PackStore::ScanSink sink;
  sink.on_journal = [&](uint64_t, ByteView record) {
    if (!failed.ok() || *at == journals_.size()) return;
    if (journals_[*at].pack != pack || journals_[*at].ordinal != ordinal++) return;
    ++*at;
    failed = ReplayRecord(record);
  };
  const size_t before = *at;
  RETURN_IF_ERROR(packs_.Scan(pack, /*verify_payload=*/false, sink));
  RETURN_IF_ERROR(failed);
  return *at > before ? Status() : Status(Code::kIo, "a pack changed while it was read");
}

Status Rebuild::ReplayRecord(ByteView record) {
  ASSIGN_OR_RETURN(std::vector<Batch::Change> changes, DecodeJournal(AsText(record)));
  ++report_.journals;
  report_.changes += changes.size();
  for (Batch::Change& change : changes)
    RETURN_IF_ERROR(Add(std::move(change.key), std::move(change.value)));
  return Status();
}

// What was applied after the last journal is not known: a hot copy may have become
// the staging file of newer bytes. Packs have what it was.
Status Rebuild::DropHotCopies() {
  std::vector<std::pair<ContentId, ContentRecord>> hot;
  const key::Range range = key::Table(key::kContent);
  RETURN_IF_ERROR(
      catalog_->Scan(range.begin, range.end, [&](std::string_view row_key, std::string_view row) {
        Result<ContentRecord> record = ContentRecord::Decode(row);
        if (record.ok() && record->stored && record->stage != 0)
          hot.emplace_back(key::Id(row_key), *std::move(record));
        return true;
      }));
  for (auto& [content, record] : hot) {
    RETURN_IF_ERROR(Add(key::Stage(record.stage), std::nullopt));
    record.stage = 0;
    RETURN_IF_ERROR(Add(key::Content(content), record.Encode()));
  }
  report_.hot_copies = hot.size();
  return Status();
}

Status Rebuild::Add(std::string key, std::optional<std::string> value) {
  batch_bytes_ += key.size() + (value ? value->size() : 0) + 64;
  value ? batch_.Put(std::move(key), *std::move(value)) : batch_.Delete(std::move(key));
  return batch_bytes_ < kBatchBytes ? Status() : Flush();
}

Status Rebuild::Flush() {
  RETURN_IF_ERROR(catalog_->Apply(std::exchange(batch_, Batch())));
  uncommitted_bytes_ += std::exchange(batch_bytes_, 0);
  if (uncommitted_bytes_ < kCommitBytes) return Status();
  uncommitted_bytes_ = 0;
  return catalog_->Commit({});  // no journal: the packs have it all
}

Status Rebuild::MoveIntoPlace() {
  std::string suffix;
  for (int number = 1;; ++number) {
    suffix = ".old-" + std::to_string(number);
    if (!Exists(disk_, kIndex + suffix) && !Exists(disk_, kLog + suffix)) break;
  }
  if (Exists(disk_, kIndex)) {
    RETURN_IF_ERROR(disk_.Rename(kIndex, kIndex + suffix));
    report_.moved_to = kIndex + suffix;
  }
  if (Exists(disk_, kLog)) RETURN_IF_ERROR(disk_.Rename(kLog, kLog + suffix));
  RETURN_IF_ERROR(disk_.Rename(kNewLog, kLog));
  RETURN_IF_ERROR(disk_.SyncDirectory("."));
  RETURN_IF_ERROR(disk_.Rename(kNewIndex, kIndex));
  return disk_.SyncDirectory(".");
}

}  // namespace

Result<RebuildReport> RebuildIndex(
    Disk& disk, const std::string& store_path, PackStore& packs,
    const std::function<void(std::string_view what, uint64_t done, uint64_t total)>& progress) {
  return Rebuild(disk, packs, progress).Run(store_path);
}

}  // namespace varve
