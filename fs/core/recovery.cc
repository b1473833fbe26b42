#include "fs/core/recovery.h"

#include <unordered_map>
#include <unordered_set>

#include "fs/core/overlay_extents.h"
#include "store/base/log.h"

namespace varve {
namespace {

constexpr char kEpochMeta[] = "power_epoch";
constexpr char kCleanMeta[] = "clean";

bool SameTime(const struct timespec& a, const struct timespec& b) {
  return a.tv_sec == b.tv_sec && a.tv_nsec == b.tv_nsec;
}

class Recovery {
 public:
  Recovery(Tree& tree, StageArea& stages, HistoryWriter& history)
      : tree_(tree), stages_(stages), history_(history) {}

  Result<RecoveryReport> Run(const std::string& power_epoch);

 private:
  struct Staged {
    StageId stage;
    ContentId content;
  };
  // What a name falls back to.
  struct Found {
    ContentId content = 0;
    uint64_t size_bytes = 0;
    struct timespec modify_time {};
  };
  struct Lost {
    Staged staged;
    ContentRecord record;
    Found found;
    Batch batch;  // deletes the versions that name it
  };
  Result<std::vector<Staged>> StageRows();
  Status RecoverOne(const Staged& staged);
  Status RecoverHot(const Staged& staged, ContentRecord record);
  Status Finish(const Staged& staged, ContentRecord record);
  Status FinishLeft(const Staged& staged, ContentRecord record, uint64_t size);
  Status FindFallBacks();
  Status FallBack(const Staged& staged, const ContentRecord& record, Found found, Batch batch);
  Status DropFreshExtents(ContentId content);
  Status ClampOverlay(ContentId content, uint64_t size, Batch* batch);
  Status AppendDropped(const Staged& staged, const ContentRecord& record, Batch* batch);
  // The newest under one of the inode's names. Rows of versions that name the lost
  // content are deleted.
  Result<Found> NewestDurable(const InodeRecord& inode, Lost* lost);
  // This version's content, or the nearest durable one that it was changed from, before any
  // of `listed`.
  using Contents = std::unordered_set<ContentId>;
  Result<Found> DurableOrBase(const VersionRecord& version, const Contents& listed);
  bool IsDurable(const ContentRecord& record);
  Status Show(Found found, InodeNumber number, InodeRecord* inode, Batch* batch);
  // Gives the inode a pending content of another one: what each goes on with is its own.
  Status CopyPending(InodeNumber inode, Found* found, Batch* batch);
  // A clone's files are new: those that show what is lost are torn.
  Status EmptyClonesOfLost();
  Status RemoveStrayFiles();

  Tree& tree_;
  StageArea& stages_;
  HistoryWriter& history_;
  RecoveryReport report_;
  bool epoch_changed_ = false;
  std::unordered_set<StageId> kept_;
  // Their paths fall back when all is known that they may fall back to.
  std::vector<Lost> lost_;
};

Result<RecoveryReport> Recovery::Run(const std::string& power_epoch) {
  ASSIGN_OR_RETURN(const std::optional<std::string> before,
                   tree_.catalog().Get(key::Meta(kEpochMeta)));
  ASSIGN_OR_RETURN(const std::optional<std::string> clean,
                   tree_.catalog().Get(key::Meta(kCleanMeta)));
  ASSIGN_OR_RETURN(epoch_changed_, PowerWasCut(tree_.catalog(), power_epoch));
  if (before && !clean)
    report_.kind = epoch_changed_ ? CrashKind::kPowerCut : CrashKind::kDaemonDied;
  ASSIGN_OR_RETURN(const std::vector<Staged> staged, StageRows());
  for (const Staged& one : staged) RETURN_IF_ERROR(RecoverOne(one));
  RETURN_IF_ERROR(FindFallBacks());
  for (const Lost& lost : lost_)
    RETURN_IF_ERROR(FallBack(lost.staged, lost.record, lost.found, lost.batch));
  RETURN_IF_ERROR(EmptyClonesOfLost());
  RETURN_IF_ERROR(RemoveStrayFiles());
  Batch batch;
  batch.Put(key::Meta(kEpochMeta), power_epoch);
  batch.Delete(key::Meta(kCleanMeta));
  RETURN_IF_ERROR(tree_.Apply(batch));
  return std::move(report_);
}

Result<std::vector<Recovery::Staged>> Recovery::StageRows() {
  std::vector<Staged> rows;
  const key::Range range = key::Table(key::kStage);
  RETURN_IF_ERROR(tree_.catalog().Scan(range.begin, range.end,
                                       [&](std::string_view row_key, std::string_view row) {
                                         ByteReader in(row);
                                         rows.push_back({key::Id(row_key), in.U64()});
                                         return true;
                                       }));
  return rows;
}

Status Recovery::RecoverOne(const Staged& staged) {
  ASSIGN_OR_RETURN(const std::optional<std::string> row,
                   tree_.catalog().Get(key::Content(staged.content)));
  if (!row) {
    LogWarning("staging file {:x} belongs to nobody; dropped", staged.stage);
    Batch batch;
    batch.Delete(key::Stage(staged.stage));
    return tree_.Apply(batch);
  }
  ASSIGN_OR_RETURN(ContentRecord record, ContentRecord::Decode(*row));
  if (record.stored) return RecoverHot(staged, std::move(record));
  const bool trusted = !epoch_changed_ || record.durable;
  if (trusted && stages_.Open(staged.stage, OpenMode::kRead).ok()) {
    kept_.insert(staged.stage);
    if (epoch_changed_ && record.overlay) RETURN_IF_ERROR(DropFreshExtents(staged.content));
    return Finish(staged, std::move(record));
  }
  lost_.push_back({staged, std::move(record), {}, {}});
  return Status();
}

Status Recovery::RecoverHot(const Staged& staged, ContentRecord record) {
  if (!epoch_changed_) {
    Result<std::shared_ptr<File>> file = stages_.Open(staged.stage, OpenMode::kRead);
    if (file.ok()) {
      kept_.insert(staged.stage);
      report_.hot.push_back({staged.content, record.size_bytes});
      return Status();
    }
  }
  record.stage = 0;
  Batch batch;
  batch.Delete(key::Stage(staged.stage));
  Tree::PutContent(staged.content, record, &batch);
  return tree_.Apply(batch);
}

Status Recovery::AppendDropped(const Staged& staged, const ContentRecord& record, Batch* batch) {
  kept_.erase(staged.stage);
  batch->Delete(key::Content(staged.content));
  batch->Delete(key::Stage(staged.stage));
  if (!record.overlay) return Status();
  const key::Range range = key::AllExtents(staged.content);
  return tree_.catalog().Scan(range.begin, range.end,
                              [&](std::string_view row_key, std::string_view) {
                                batch->Delete(std::string(row_key));
                                return true;
                              });
}

// The bytes are good: what was open is captured, what was pending goes on.
Status Recovery::Finish(const Staged& staged, ContentRecord record) {
  ASSIGN_OR_RETURN(const std::shared_ptr<File> file, stages_.Open(staged.stage, OpenMode::kRead));
  ASSIGN_OR_RETURN(const struct stat stat, file->Stat());
  const uint64_t size = static_cast<uint64_t>(stat.st_size);
  Result<InodeRecord> inode = tree_.Inode(record.inode);
  const bool current = inode.ok() && inode->content == staged.content && inode->links > 0;
  if (!current) return FinishLeft(staged, std::move(record), size);
  ++report_.finished;
  Batch batch;
  if (record.overlay) RETURN_IF_ERROR(ClampOverlay(staged.content, size, &batch));
  const bool unchanged = inode->size_bytes == size && SameTime(inode->modify_time, stat.st_mtim);
  if (!record.captured && record.base == 0 && size == 0) {
    // Created and never written.
    RETURN_IF_ERROR(AppendDropped(staged, record, &batch));
    inode->content = 0;
    inode->size_bytes = 0;
    Tree::PutInode(record.inode, *inode, &batch);
    return tree_.Apply(batch);
  }
  inode->size_bytes = size;
  inode->modify_time = stat.st_mtim;
  if (!unchanged) inode->change_time = tree_.Now();
  if (!record.captured || !unchanged)
    RETURN_IF_ERROR(history_.Capture(record.inode, *inode, staged.content, &batch));
  record.captured = true;
  record.size_bytes = size;
  Tree::PutContent(staged.content, record, &batch);
  Tree::PutInode(record.inode, *inode, &batch);
  report_.pending.push_back(staged.content);
  return tree_.Apply(batch);
}

// No name of its inode shows it: only versions can want it.
Status Recovery::FinishLeft(const Staged& staged, ContentRecord record, uint64_t size) {
  Batch batch;
  if (record.captured) {
    // A writer may have gone on with it after its names went.
    if (record.overlay) RETURN_IF_ERROR(ClampOverlay(staged.content, size, &batch));
    record.size_bytes = size;
    Tree::PutContent(staged.content, record, &batch);
    report_.pending.push_back(staged.content);
    return tree_.Apply(batch);
  }
  RETURN_IF_ERROR(AppendDropped(staged, record, &batch));
  Result<InodeRecord> inode = tree_.Inode(record.inode);
  if (inode.ok() && inode->content == staged.content) {
    inode->content = 0;
    inode->size_bytes = 0;
    Tree::PutInode(record.inode, *inode, &batch);
  }
  return tree_.Apply(batch);
}

// Their bytes were not flushed, and may be lost: what was there before shows.
Status Recovery::DropFreshExtents(ContentId content) {
  Batch batch;
  const key::Range range = key::AllExtents(content);
  RETURN_IF_ERROR(
      tree_.catalog().Scan(range.begin, range.end, [&](std::string_view row_key, std::string_view) {
        if (key::IsFreshExtent(row_key)) batch.Delete(std::string(row_key));
        return true;
      }));
  return batch.empty() ? Status() : tree_.Apply(batch);
}

// A death between a truncation of the staging file and its row.
Status Recovery::ClampOverlay(ContentId content, uint64_t size, Batch* batch) {
  ASSIGN_OR_RETURN(const std::optional<std::string> row,
                   tree_.catalog().Get(key::Extent(content, key::kBaseShown)));
  if (!row) return Status();
  ASSIGN_OR_RETURN(const uint64_t shown, DecodeOffset(*row));
  if (shown > size) batch->Put(key::Extent(content, key::kBaseShown), EncodeOffset(size));
  return Status();
}

bool Recovery::IsDurable(const ContentRecord& record) {
  if (record.torn || record.purged) return false;
  if (record.stored) return true;
  return record.durable && stages_.Open(record.stage, OpenMode::kRead).ok();
}

Result<Recovery::Found> Recovery::DurableOrBase(const VersionRecord& version,
                                                const Contents& listed) {
  ContentId content = version.content;
  Contents seen;  // two names renamed over each other make a circle
  while (content != 0 && seen.insert(content).second) {
    ASSIGN_OR_RETURN(const std::optional<std::string> row,
                     tree_.catalog().Get(key::Content(content)));
    if (!row) break;
    ASSIGN_OR_RETURN(const ContentRecord record, ContentRecord::Decode(*row));
    if (IsDurable(record)) return Found{content, record.size_bytes, version.modify_time};
    content = record.falls_back_to();
    if (listed.contains(content)) break;
  }
  return Found();
}

Result<Recovery::Found> Recovery::NewestDurable(const InodeRecord& record, Lost* lost_content) {
  const ContentId lost = lost_content->staged.content;
  Found found;
  // It was open, so no version names it yet. What it was changed from has none here if it
  // was renamed since: older ones are another file's.
  VersionRecord open;
  open.content = lost;
  open.modify_time = record.modify_time;
  ASSIGN_OR_RETURN(const std::vector<LinkName> names,
                   tree_.Names(lost_content->record.inode, record));
  for (const LinkName& name : names) {
    ASSIGN_OR_RETURN(const InodeRecord parent, tree_.Inode(name.parent));
    std::vector<std::pair<std::string, VersionRecord>> versions;
    Status damaged;
    const key::Range range = key::AllVersions(parent.history, name.name);
    RETURN_IF_ERROR(tree_.catalog().Scan(
        range.begin, range.end, [&](std::string_view row_key, std::string_view row) {
          Result<VersionRecord> version = VersionRecord::Decode(row);
          damaged = version.status();
          if (!version.ok()) return false;
          versions.emplace_back(row_key, *std::move(version));
          return true;
        }));
    RETURN_IF_ERROR(damaged);
    // A base that has a version here has its turn as such: later ones may lie between, an
    // overlay's that was continued as another one, or what an fsync captured.
    Contents listed;
    for (const auto& [row_key, version] : versions) listed.insert(version.content);
    if (found.content == 0 && !listed.contains(lost)) {
      ASSIGN_OR_RETURN(found, DurableOrBase(open, listed));
    }
    for (auto it = versions.rbegin(); it != versions.rend(); ++it) {
      if (it->second.content == lost) lost_content->batch.Delete(it->first);
      if (found.content != 0) continue;
      ASSIGN_OR_RETURN(found, DurableOrBase(it->second, listed));
    }
  }
  if (found.content == 0) return DurableOrBase(open, {});
  return found;
}

Status Recovery::CopyPending(InodeNumber inode, Found* found, Batch* batch) {
  ASSIGN_OR_RETURN(ContentRecord record, tree_.Content(found->content));
  ASSIGN_OR_RETURN(const ContentId content, tree_.NewId());
  stages_.Reap({content});  // a stray file, if the cut took back what gave out this number
  RETURN_IF_ERROR(stages_.Copy(record.stage, content));
  record.stage = content;
  RETURN_IF_ERROR(stages_.Sync(record.stage));
  kept_.insert(record.stage);
  record.inode = inode;
  if (record.overlay) {
    OverlayExtents extents;
    uint64_t base_shown = 0;
    RETURN_IF_ERROR(LoadExtents(tree_.catalog(), found->content, &extents, &base_shown));
    batch->Put(key::Extent(content, key::kBaseShown), EncodeOffset(base_shown));
    for (const ByteRange& extent : extents.shown().All())
      batch->Put(key::Extent(content, extent.begin), EncodeOffset(extent.end));
  }
  (record.overlay ? record.replaced : record.base) = found->content;
  Tree::PutContent(content, record, batch);
  Tree::PutStageOwner(record.stage, content, batch);
  report_.pending.push_back(content);
  found->content = content;
  return Status();
}

Status Recovery::Show(Found found, InodeNumber number, InodeRecord* inode, Batch* batch) {
  ASSIGN_OR_RETURN(ContentRecord shown, tree_.Content(found.content));
  const bool copied = !shown.stored && shown.inode != number;
  if (copied) {
    RETURN_IF_ERROR(CopyPending(number, &found, batch));
  } else if (!shown.stored) {
    // Other names may list it, so nobody goes on with it in place.
    shown.shared = true;
    Tree::PutContent(found.content, shown, batch);
    // A staging file tells its time itself.
    ASSIGN_OR_RETURN(const auto file, stages_.Open(shown.stage, OpenMode::kRead));
    ASSIGN_OR_RETURN(const struct stat stat, file->Stat());
    found.modify_time = stat.st_mtim;
  }
  inode->content = found.content;
  inode->size_bytes = found.size_bytes;
  inode->modify_time = found.modify_time;
  return copied ? history_.Capture(number, *inode, found.content, batch) : Status();
}

// Before any of them goes: with its versions, the order would go in which one followed the
// other.
Status Recovery::FindFallBacks() {
  for (Lost& lost : lost_) {
    const Result<InodeRecord> inode = tree_.Inode(lost.record.inode);
    if (!inode.ok()) continue;
    ASSIGN_OR_RETURN(lost.found, NewestDurable(*inode, &lost));
  }
  return Status();
}

Status Recovery::FallBack(const Staged& staged, const ContentRecord& record, Found found,
                          Batch batch) {
  RETURN_IF_ERROR(AppendDropped(staged, record, &batch));
  ContentRecord torn;
  torn.captured = torn.stored = torn.durable = torn.torn = true;
  torn.complete = false;
  torn.incomplete_reason = "a power cut came before its content was durable";
  torn.inode = record.inode;
  torn.base = record.falls_back_to();  // whoever replaced this one falls back past it
  // Versions under names that its inode lost may list it still.
  if (record.captured) Tree::PutContent(staged.content, torn, &batch);
  Result<InodeRecord> inode = tree_.Inode(record.inode);
  if (!inode.ok()) return tree_.Apply(batch);
  if (inode->content != staged.content) return tree_.Apply(batch);
  const std::string path = tree_.PathOf(record.inode);
  if (found.content != 0) {
    ++report_.fallen_back;
    LogWarning("{}: its newest content was not durable; it shows the version before", path);
    RETURN_IF_ERROR(Show(found, record.inode, &*inode, &batch));
  } else {
    // Also what was made and never closed: whether it was written, nobody knows.
    ++report_.torn;
    LogWarning("{}: it had no durable content; it is empty now, and marked torn", path);
    Tree::PutContent(staged.content, torn, &batch);
    inode->size_bytes = 0;
    RETURN_IF_ERROR(history_.Capture(record.inode, *inode, staged.content, &batch));
  }
  inode->hole_bytes = 0;
  Tree::PutInode(record.inode, *inode, &batch);
  return tree_.Apply(batch);
}

Status Recovery::EmptyClonesOfLost() {
  std::unordered_map<ContentId, InodeNumber> owners;
  for (const Lost& lost : lost_)
    if (lost.record.captured) owners[lost.staged.content] = lost.record.inode;
  if (owners.empty()) return Status();
  std::vector<std::pair<InodeNumber, InodeRecord>> clones;
  const key::Range inodes = key::Table(key::kInode);
  RETURN_IF_ERROR(tree_.catalog().Scan(
      inodes.begin, inodes.end, [&](std::string_view row_key, std::string_view row) {
        const Result<InodeRecord> inode = InodeRecord::Decode(row);
        if (!inode.ok()) return true;  // fsck's business
        const auto owner = owners.find(inode->content);
        if (owner != owners.end() && owner->second != key::Id(row_key))
          clones.emplace_back(key::Id(row_key), *inode);
        return true;
      }));
  for (auto& [number, inode] : clones) {
    inode.size_bytes = inode.hole_bytes = 0;
    ++report_.torn;
    LogWarning("{}: it had no durable content; it is empty now, and marked torn",
               tree_.PathOf(number));
    Batch batch;
    Tree::PutInode(number, inode, &batch);
    RETURN_IF_ERROR(tree_.Apply(batch));
  }
  return Status();
}

Status Recovery::RemoveStrayFiles() {
  ASSIGN_OR_RETURN(const std::vector<StageId> files, stages_.List());
  std::vector<StageId> stray;
  for (const StageId file : files)
    if (!kept_.contains(file)) stray.push_back(file);
  // Rows that drop them have to be durable before the files go.
  if (!stray.empty()) RETURN_IF_ERROR(tree_.catalog().SyncLog());
  stages_.Reap(stray);
  report_.dropped_stages = stray.size();
  return Status();
}

}  // namespace

Result<RecoveryReport> Recover(Tree& tree, StageArea& stages, HistoryWriter& history,
                               const std::string& power_epoch) {
  return Recovery(tree, stages, history).Run(power_epoch);
}

Result<bool> PowerWasCut(Catalog& catalog, const std::string& power_epoch) {
  ASSIGN_OR_RETURN(const std::optional<std::string> before, catalog.Get(key::Meta(kEpochMeta)));
  return before && *before != power_epoch;
}

Status MarkClean(Tree& tree) {
  Batch batch;
  batch.Put(key::Meta(kCleanMeta), "1");
  return tree.Apply(batch);
}

}  // namespace varve
