#include "fs/core/store_parts.h"

#include "store/base/log.h"

namespace varve {

Result<std::unique_ptr<StoreParts>> StoreParts::Build(const Base& base, const Options& options) {
  std::unique_ptr<StoreParts> parts(new StoreParts(base));
  RETURN_IF_ERROR(parts->OpenStores(options));
  RETURN_IF_ERROR(parts->MakeNodes(options));
  return parts;
}

Status StoreParts::OpenStores(const Options& options) {
  ASSIGN_OR_RETURN(packs_, OpenPackStore(base_.disk, "packs", base_.fingerprinter, options.packs));
  ASSIGN_OR_RETURN(catalog_, OpenIndex(options.catalog));
  tree_ = std::make_unique<Tree>(*catalog_, base_.fingerprinter, base_.clock);
  RETURN_IF_ERROR(tree_->Open(options.root_uid, options.root_gid));
  ASSIGN_OR_RETURN(stages_, StageArea::Open(base_.disk));
  contents_ = MakeContentStore(*catalog_, *packs_, base_.fingerprinter, options.contents);
  return Status();
}

// It writes a little at once. If others took all room meanwhile, what is kept for such a moment
// goes.
Result<std::unique_ptr<Catalog>> StoreParts::OpenIndex(const CatalogOptions& options) {
  const auto open = [&] { return OpenCatalog(base_.key_values, base_.disk, "log", options); };
  Result<std::unique_ptr<Catalog>> opened = open();
  if (opened.status().code() == Code::kNoSpace && Ballast::Drop(base_.disk)) opened = open();
  if (opened.status().code() == Code::kNoSpace && packs_->DropReserve()) opened = open();
  return opened;
}

Status StoreParts::MakeNodes(const Options& options) {
  history_ = std::make_unique<HistoryWriter>(*tree_);
  clones_ = std::make_unique<Clones>(*tree_, *history_);
  RETURN_IF_ERROR(clones_->Load());
  files_ = std::make_unique<LiveFiles>(LiveFiles::Dependencies{
      *tree_, *stages_, *contents_, *history_, base_.kernel, base_.clock, options.passthrough});
  hot_ = std::make_unique<HotCache>(options.hot_bytes_max);
  ASSIGN_OR_RETURN(room_, DiskRoom::Open({base_.disk, *tree_, *files_, *packs_, *hot_},
                                         {options.hot_bytes_max, options.history_yields}));
  live_ = std::make_unique<LiveNodes>(LiveNodes::Dependencies{
      *tree_, *files_, *stages_, *history_, *clones_, base_.disk, base_.clock,
      [this](bool everything) {
        digester_->Hurry();
        committer_->Hurry();
        return everything ? digester_->SyncOlderThan(0) : Status();
      },
      [this](std::string_view asked) { return collector_->AskFor(asked); },
      [this](std::string_view asked) { return scrubber_->AskFor(asked); },
      [this] { return ScrubReportJson(scrubber_->Progress().last); },
      [this](PurgeRequest request, bool dry_run) {
        CollectOptions asked;
        asked.dry_run = dry_run;
        asked.thorough = true;
        asked.purge = std::move(request);
        collector_->Ask(std::move(asked));
      },
      [this] { return PurgeReportJson(collector_->Progress().last_purge); },
      [this](NodeId node) -> NodeOps& { return Nodes(node); }, options.mount_point});
  capture_ = std::make_unique<DirectoryCapture>(
      DirectoryCapture::Dependencies{*tree_, *files_, base_.clock, options.quiet_ns});
  live_->SetDirectoryCapture(capture_.get());
  RETURN_IF_ERROR(live_->LoadSeals());
  frozen_ = std::make_unique<FrozenNodes>(FrozenNodes::Dependencies{
      *tree_, *live_, *files_, [this] { return live_->StatFilesystem(); }});
  live_->SetFrozenNodes(frozen_.get());
  virtual_ = std::make_unique<VirtualNodes>(
      VirtualContext{*catalog_, *live_, *files_, base_.status_json,
                     [this] { return live_->StatFilesystem(); }, frozen_.get(), capture_.get()});
  live_->SetVirtualNodes(virtual_.get());
  digester_ = std::make_unique<Digester>(Digester::Dependencies{
      *tree_, *stages_, *contents_, *files_, *history_, *hot_, base_.clock, [this] { MakeRoom(); },
      [this] { return CommitOnFullDisk(RoomFor::kUpkeep); }, [this] { return room_->RoomBytes(); },
      [this] { return room_->RoomBytesFor(RoomFor::kUpkeep); }});
  files_->SetDigestQueue(digester_.get());
  committer_ = std::make_unique<Committer>(Committer::Dependencies{
      *catalog_, *packs_, *stages_, *files_, *digester_,
      [this](const Status& status) { live_->Fence(status.ToString()); }, [this] { MakeRoom(); },
      [this] {
        live_->RemoveForgotten();
        CaptureDirectories();
        if (room_->Housekeep()) collector_->Hurry();
      }});
  collector_ = std::make_unique<Collector>(
      Collector::Dependencies{*tree_, *files_, *contents_, *packs_, *digester_, *hot_, base_.clock,
                              [this] { return CommitOnFullDisk(RoomFor::kCollection); },
                              [this] {
                                live_->RemoveForgotten();  // which waits for others, or a second
                                return capture_->CaptureAll();
                              },
                              [this] { return room_->MissingBytes(); },
                              [this] { return room_->RoomBytesFor(RoomFor::kCollection); }});
  scrubber_ = std::make_unique<Scrubber>(
      Scrubber::Dependencies{*tree_, *packs_, base_.clock, base_.scrub_wait});
  return scrubber_->Load();
}

void StoreParts::CaptureDirectories() {
  if (!live_->fence_reason().empty()) return;
  const Status captured = capture_->CaptureDue();
  if (!captured.ok()) LogWarning("directories are not captured yet: {}", captured.ToString());
}

Status StoreParts::CommitOnFullDisk(RoomFor room) {
  Status committed = committer_->CommitNow(room);
  if (committed.code() != Code::kNoSpace) return committed;
  room_->MakeRoom();
  return committer_->CommitNow(room);
}

void StoreParts::MakeRoom() {
  room_->MakeRoom();
  collector_->Hurry();
  // Not an error by itself: on a full disk the next beat commits.
  const Status committed = committer_->CommitNow();
  if (!committed.ok()) LogWarning("no commit on a full disk yet: {}", committed.ToString());
}

Result<RecoveryReport> StoreParts::RecoverTree() {
  MutexLock lock(tree_->mutex());
  ASSIGN_OR_RETURN(RecoveryReport report,
                   Recover(*tree_, *stages_, *history_, base_.disk.PowerEpoch()));
  RETURN_IF_ERROR(live_->RemoveOrphansLocked());
  for (const ContentId content : report.pending) digester_->Enqueue(content);
  for (const RecoveryReport::Hot& hot : report.hot) hot_->Add(hot.content, hot.bytes);
  RETURN_IF_ERROR(catalog_->SyncLog());
  return report;
}

}  // namespace varve
