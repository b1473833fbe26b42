#include "fs/core/fsck.h"

#include <fmt/format.h>

#include <algorithm>
#include <optional>

#include "fs/core/fsck_contents.h"
#include "fs/core/fsck_history.h"
#include "fs/core/fsck_rows.h"
#include "fs/core/fsck_tree.h"
#include "fs/core/rebuild.h"
#include "fs/core/store_index.h"
#include "fs/core/store_lock.h"
#include "fs/core/superblock.h"
#include "store/base/posix_disk.h"

namespace varve {
namespace {

// A repair uncovers what was hidden behind the damage: below a directory that was
// put together again, for example.
constexpr int kRoundsMax = 8;

class StoreCheck {
 public:
  StoreCheck(std::string path, const FsckOptions& options)
      : path_(std::move(path)), options_(options) {
    if (options_.rebuild_index) options_.repair = true;
  }

  Result<FsckReport> Run();

 private:
  Status OpenStore();
  Status CheckSuperblock();
  Status OpenIndex();
  Status Rebuild();
  Status CheckAll();

  const std::string path_;
  FsckOptions options_;
  FsckReport report_;
  SystemClock clock_;

  std::unique_ptr<PosixDisk> disk_;
  std::optional<StoreLock> lock_;
  std::optional<Fingerprinter> fingerprinter_;
  std::unique_ptr<PackStore> packs_;
  std::unique_ptr<KeyValueStore> rows_;
  std::unique_ptr<Catalog> catalog_;
  std::unique_ptr<Tree> tree_;
  std::unique_ptr<StageArea> stages_;
};

Result<FsckReport> StoreCheck::Run() {
  RETURN_IF_ERROR(OpenStore());
  RETURN_IF_ERROR(OpenIndex());
  RETURN_IF_ERROR(NameRemedy(CheckAll(), path_));
  return std::move(report_);
}

Status StoreCheck::OpenStore() {
  Result<std::unique_ptr<PosixDisk>> disk = PosixDisk::Open(path_);
  if (!disk.ok()) return Status::Errno(disk.status().os_errno(), "cannot open the store " + path_);
  disk_ = *std::move(disk);
  // Before the lock, which would leave a file in a directory that is no store.
  if (!disk_->Stat(kSuperblockPath).ok() && !disk_->Stat(kSuperblockCopyPath).ok())
    return Status(Code::kInvalid, path_ + " is not a VarveFS store: it has no superblock");
  ASSIGN_OR_RETURN(StoreLock lock, StoreLock::Acquire(path_, "fsck"));
  lock_.emplace(std::move(lock));
  return CheckSuperblock();
}

Status StoreCheck::CheckSuperblock() {
  Result<Superblock> first = ReadSuperblock(*disk_, kSuperblockPath, path_);
  Result<Superblock> copy = ReadSuperblock(*disk_, kSuperblockCopyPath, path_);
  const auto newer = [](const Result<Superblock>& superblock) {
    return superblock.status().code() == Code::kInvalid &&
           superblock.status().context().find("format") != std::string_view::npos;
  };
  if (newer(first) && newer(copy)) return first.status();
  if (!first.ok() && !copy.ok())
    return Status(Code::kCorrupt, "the superblock of " + path_ + " and its copy are damaged (" +
                                      std::string(first.status().context()) +
                                      "); restore either file from a backup: nothing in the "
                                      "packs can be verified without the secret they keep");
  const Superblock& good = first.ok() ? *first : *copy;
  fingerprinter_.emplace(good.secret);
  const bool agree = first.ok() && copy.ok() && first->secret == copy->secret;
  if (agree) return Status();
  FsckContext::Add(
      &report_, options_.repair,
      first.ok() ? "superblock.copy is missing or damaged" : "the superblock is missing or damaged",
      first.ok() ? "it is written anew" : "it is restored from superblock.copy");
  return options_.repair ? WriteSuperblock(*disk_, good) : Status();
}

Status StoreCheck::OpenIndex() {
  const bool present = disk_->Stat("index/data.mdb").ok();
  ASSIGN_OR_RETURN(packs_, OpenPackStore(*disk_, "packs", *fingerprinter_, PackStoreOptions()));
  if (options_.rebuild_index) {
    RETURN_IF_ERROR(Rebuild());
    if (!present)
      FsckContext::Add(&report_, /*repaired=*/true, "the index is gone",
                       "it is made anew from the packs");
  }
  CatalogOptions catalog_options;
  catalog_options.read_only = !options_.repair;
  ASSIGN_OR_RETURN(rows_, OpenStoreIndex(*disk_, path_, /*read_only=*/!options_.repair));
  Result<std::unique_ptr<Catalog>> catalog = OpenCatalog(*rows_, *disk_, "log", catalog_options);
  RETURN_IF_ERROR(NameRemedy(catalog.status(), path_));
  catalog_ = *std::move(catalog);
  tree_ = std::make_unique<Tree>(*catalog_, *fingerprinter_, clock_);
  ASSIGN_OR_RETURN(stages_, StageArea::Open(*disk_));
  return Status();
}

Status StoreCheck::Rebuild() {
  ASSIGN_OR_RETURN(const RebuildReport rebuilt,
                   RebuildIndex(*disk_, path_, *packs_, options_.progress));
  report_.notes.push_back(fmt::format(
      "the index was made anew from {} journals with {} changes, and the places of {} chunks{}",
      rebuilt.journals, rebuilt.changes, rebuilt.chunks,
      rebuilt.moved_to.empty() ? "" : "; the old one is in " + rebuilt.moved_to));
  if (rebuilt.unfinished_bases > 0) {
    report_.notes.push_back(
        fmt::format("{} base journals are not whole and were not used", rebuilt.unfinished_bases));
  }
  return Status();
}

Status StoreCheck::CheckAll() {
  FsckContext context({*disk_, *fingerprinter_, *packs_, *catalog_, *tree_, *stages_}, options_,
                      &report_);
  return RunChecks(context);
}

// One round; true when it found nothing.
Result<bool> CheckOnce(FsckContext& context, ChunkTable& chunks) {
  const uint64_t before = context.found();
  InodeTable inodes;
  RETURN_IF_ERROR(TreeCheck(context, inodes).Run());
  // What names contents must be right first.
  if (context.repair() && context.found() != before) return false;
  RETURN_IF_ERROR(ContentCheck(context, inodes, chunks).Run());
  return context.found() == before;
}

}  // namespace

Status RunChecks(FsckContext& context) {
  RETURN_IF_ERROR(CheckRows(context));
  RETURN_IF_ERROR(CheckDirectoryHistory(context));
  ChunkTable chunks;
  RETURN_IF_ERROR(chunks.Load(context));
  bool settled = false;
  for (int round = 0; round < kRoundsMax && !settled; ++round) {
    ASSIGN_OR_RETURN(settled, CheckOnce(context, chunks));
    if (!context.repair()) return Status();
  }
  if (!settled)
    context.Found("there is still damage after " + std::to_string(kRoundsMax) + " repairs",
                  "none; the findings above say what came back", /*repairable=*/false);
  return context.Commit();
}

Result<FsckReport> CheckStore(const std::string& store_path, const FsckOptions& options) {
  return StoreCheck(store_path, options).Run();
}

}  // namespace varve
