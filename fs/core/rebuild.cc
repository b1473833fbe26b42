#include "fs/core/rebuild.h"

#include <utility>
#include <vector>

#include "fs/core/keys.h"
#include "fs/core/records.h"
#include "fs/core/replay.h"
#include "index/catalog.h"

namespace varve {
namespace {

constexpr char kIndex[] = "index";
constexpr char kLog[] = "log";
constexpr char kNewIndex[] = "index.rebuild";
constexpr char kNewLog[] = "log.rebuild";

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
  Rebuild(Disk& disk, PackStore& packs, const ReplayProgressFn& progress)
      : disk_(disk), replay_(packs, progress) {}

  Result<RebuildReport> Run(const std::string& store_path);

 private:
  Status Build(Catalog& catalog);
  Status DropHotCopies(Catalog& catalog);
  Status MoveIntoPlace();

  Disk& disk_;
  Replay replay_;
  RebuildReport report_;
};

Result<RebuildReport> Rebuild::Run(const std::string& store_path) {
  const Status found = replay_.FindJournals();
  if (found.code() == Code::kCorrupt) {
    return Status(found.code(), store_path + ": " + std::string(found.context()) +
                                    ": there is nothing to rebuild from");
  }
  RETURN_IF_ERROR(found);
  for (const char* leftover : {kNewIndex, kNewLog})
    RETURN_IF_ERROR(RemoveDirectory(disk_, leftover));
  {
    ASSIGN_OR_RETURN(const std::unique_ptr<KeyValueStore> rows,
                     OpenLmdb(store_path + "/" + kNewIndex));
    CatalogOptions options;
    options.sequence_floor = replay_.journals().newest_sequence();
    ASSIGN_OR_RETURN(const std::unique_ptr<Catalog> catalog,
                     OpenCatalog(*rows, disk_, kNewLog, options));
    RETURN_IF_ERROR(Build(*catalog));
  }
  RETURN_IF_ERROR(MoveIntoPlace());
  return report_;
}

Status Rebuild::Build(Catalog& catalog) {
  RETURN_IF_ERROR(replay_.Fill(catalog));
  RETURN_IF_ERROR(DropHotCopies(catalog));
  report_.journals = replay_.counts().journals;
  report_.changes = replay_.counts().changes;
  report_.chunks = replay_.counts().chunks;
  report_.base_sequence = replay_.journals().base_sequence().value_or(0);
  report_.unfinished_bases = replay_.journals().unfinished();
  return catalog.Commit({});
}

// What was applied after the last journal is not known: a hot copy may have become
// the staging file of newer bytes. Packs have what it was.
Status Rebuild::DropHotCopies(Catalog& catalog) {
  std::vector<std::pair<ContentId, ContentRecord>> hot;
  const key::Range range = key::Table(key::kContent);
  RETURN_IF_ERROR(
      catalog.Scan(range.begin, range.end, [&](std::string_view row_key, std::string_view row) {
        Result<ContentRecord> record = ContentRecord::Decode(row);
        if (record.ok() && record->stored && record->stage != 0)
          hot.emplace_back(key::Id(row_key), *std::move(record));
        return true;
      }));
  for (auto& [content, record] : hot) {
    Batch batch;
    batch.Delete(key::Stage(record.stage));
    record.stage = 0;
    batch.Put(key::Content(content), record.Encode());
    RETURN_IF_ERROR(catalog.Apply(batch));
  }
  report_.hot_copies = hot.size();
  return Status();
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

Result<RebuildReport> RebuildIndex(Disk& disk, const std::string& store_path, PackStore& packs,
                                   const ReplayProgressFn& progress) {
  return Rebuild(disk, packs, progress).Run(store_path);
}

}  // namespace varve
