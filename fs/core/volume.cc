#include "fs/core/volume.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <thread>

#include "fs/core/committer.h"
#include "fs/core/live_nodes.h"
#include "fs/core/recovery.h"
#include "fs/core/store_lock.h"
#include "fs/core/superblock.h"
#include "fs/core/volume_status.h"
#include "store/base/log.h"
#include "store/base/posix_disk.h"

namespace varve {
namespace {

constexpr uint64_t kHotShare = 10;  // of the disk, by default

// Everything of an open store, in the order in which it is built.
class StoreVolume final : public Volume {
 public:
  StoreVolume(std::string path, const VolumeOptions& options, KernelChannel& kernel)
      : path_(std::move(path)), options_(options), kernel_(kernel) {}
  ~StoreVolume() override;

  Status Open();

  NodeOps& Nodes(NodeId node) override {
    return KindOf(node) == NodeKind::kVirtual ? static_cast<NodeOps&>(*virtual_)
                                              : static_cast<NodeOps&>(*live_);
  }
  void SetMountFacts(const MountFacts& facts) override;
  Status Drain(int64_t timeout_ns) override;
  std::string StatusJson() override;

 private:
  Status OpenParts();
  Status RecoverTree();
  void Hurry();

  const std::string path_;
  const VolumeOptions options_;
  KernelChannel& kernel_;
  SystemClock clock_;
  const int64_t opened_ns_ = clock_.MonotonicNs();

  std::optional<StoreLock> lock_;
  std::unique_ptr<PosixDisk> disk_;
  std::unique_ptr<Fingerprinter> fingerprinter_;
  std::unique_ptr<PackStore> packs_;
  std::unique_ptr<KeyValueStore> key_values_;
  std::unique_ptr<Catalog> catalog_;
  std::unique_ptr<Tree> tree_;
  std::unique_ptr<StageArea> stages_;
  std::unique_ptr<ContentStore> contents_;
  std::unique_ptr<HistoryWriter> history_;
  std::unique_ptr<LiveFiles> files_;
  std::unique_ptr<HotCache> hot_;
  std::unique_ptr<LiveNodes> live_;
  std::unique_ptr<VirtualNodes> virtual_;
  std::unique_ptr<Digester> digester_;
  std::unique_ptr<Committer> committer_;
  RecoveryReport recovery_;
  bool drained_ = false;

  Mutex facts_mutex_;
  MountFacts facts_ GUARDED_BY(facts_mutex_);
};

Status StoreVolume::Open() {
  if (mkdir(path_.c_str(), 0700) != 0 && errno != EEXIST)
    return Status::Errno(errno, "cannot make the store " + path_);
  ASSIGN_OR_RETURN(disk_, PosixDisk::Open(path_));
  ASSIGN_OR_RETURN(StoreLock lock, StoreLock::Acquire(path_, options_.mount_point));
  lock_.emplace(std::move(lock));
  ASSIGN_OR_RETURN(Superblock superblock, OpenSuperblock(*disk_, path_, clock_.Now().tv_sec));
  if (chmod(path_.c_str(), 0700) != 0)
    return Status::Errno(errno, "cannot make " + path_ + " private (mode 0700)");
  fingerprinter_ = std::make_unique<Fingerprinter>(std::move(superblock.secret));
  RETURN_IF_ERROR(OpenParts());
  RETURN_IF_ERROR(RecoverTree());
  const unsigned cores = std::max(1u, std::thread::hardware_concurrency());
  digester_->Start(options_.threads > 0 ? options_.threads : std::clamp(cores / 2, 1u, 8u));
  committer_->Start();
  return Status();
}

Status StoreVolume::OpenParts() {
  PackStoreOptions pack_options;
  pack_options.io_uring = options_.io_uring;
  ASSIGN_OR_RETURN(packs_, OpenPackStore(*disk_, "packs", *fingerprinter_, pack_options));
  ASSIGN_OR_RETURN(key_values_, OpenLmdb(path_ + "/index"));
  ASSIGN_OR_RETURN(catalog_, OpenCatalog(*key_values_, *disk_, "log", CatalogOptions()));
  tree_ = std::make_unique<Tree>(*catalog_, *fingerprinter_, clock_);
  RETURN_IF_ERROR(tree_->Open(geteuid(), getegid()));
  ASSIGN_OR_RETURN(stages_, StageArea::Open(*disk_));
  ContentStoreOptions content_options;
  if (options_.threads > 0) content_options.threads = options_.threads;
  contents_ = MakeContentStore(*catalog_, *packs_, *fingerprinter_, content_options);
  history_ = std::make_unique<HistoryWriter>(*tree_);
  files_ = std::make_unique<LiveFiles>(LiveFiles::Dependencies{
      *tree_, *stages_, *contents_, *history_, kernel_, clock_, options_.passthrough});
  uint64_t hot_max = options_.hot_bytes_max;
  if (hot_max == 0) {
    ASSIGN_OR_RETURN(const struct statvfs space, disk_->Space());
    hot_max = static_cast<uint64_t>(space.f_blocks) * space.f_frsize / kHotShare;
  }
  hot_ = std::make_unique<HotCache>(hot_max);
  live_ = std::make_unique<LiveNodes>(LiveNodes::Dependencies{*tree_, *files_, *stages_, *history_,
                                                              *disk_, clock_, [this] { Hurry(); }});
  virtual_ = std::make_unique<VirtualNodes>(
      VirtualContext{*catalog_, *live_, *files_, [this] { return StatusJson(); },
                     [this] { return live_->StatFilesystem(); }});
  live_->SetVirtualNodes(virtual_.get());
  digester_ = std::make_unique<Digester>(
      Digester::Dependencies{*tree_, *stages_, *contents_, *files_, *history_, *hot_, clock_});
  files_->SetDigestQueue(digester_.get());
  committer_ = std::make_unique<Committer>(
      Committer::Dependencies{*catalog_, *packs_, *stages_, *files_, *digester_,
                              [this](const Status& status) { live_->Fence(status.ToString()); }});
  return Status();
}

Status StoreVolume::RecoverTree() {
  MutexLock lock(tree_->mutex());
  ASSIGN_OR_RETURN(recovery_, Recover(*tree_, *stages_, *history_, disk_->PowerEpoch()));
  RETURN_IF_ERROR(live_->RemoveOrphansLocked());
  for (const ContentId content : recovery_.pending) digester_->Enqueue(content);
  for (const RecoveryReport::Hot& hot : recovery_.hot) hot_->Add(hot.content, hot.bytes);
  if (recovery_.kind != CrashKind::kClean)
    LogWarning(
        "the last mount ended without an umount ({}): {} contents go on, {} paths fell "
        "back, {} are torn",
        recovery_.kind == CrashKind::kPowerCut ? "power cut" : "daemon died", recovery_.finished,
        recovery_.fallen_back, recovery_.torn);
  return catalog_->SyncLog();
}

StoreVolume::~StoreVolume() {
  if (digester_) digester_->Stop();
  if (committer_) {
    committer_->Stop();
    Status status;
    if (drained_ && digester_->Pending().files == 0) status = MarkClean(*tree_);
    if (status.ok()) status = committer_->CommitNow();
    if (!status.ok()) LogError("the last commit failed: {}", status.ToString());
  }
}

void StoreVolume::SetMountFacts(const MountFacts& facts) {
  {
    MutexLock lock(tree_->mutex());
    files_->SetPassthrough(options_.passthrough && facts.passthrough);
  }
  MutexLock lock(facts_mutex_);
  facts_ = facts;
}

void StoreVolume::Hurry() {
  digester_->Hurry();
  committer_->Hurry();
}

Status StoreVolume::Drain(int64_t timeout_ns) {
  {
    MutexLock lock(tree_->mutex());
    RETURN_IF_ERROR(files_->CaptureAllLocked());
  }
  RETURN_IF_ERROR(digester_->Drain(timeout_ns));
  RETURN_IF_ERROR(committer_->CommitNow());
  drained_ = true;
  return Status();
}

std::string StoreVolume::StatusJson() {
  StatusInput in;
  {
    MutexLock lock(facts_mutex_);
    in.facts = facts_;
  }
  in.store = path_;
  in.mount_point = options_.mount_point;
  in.store_uring_reason = packs_->uring_reason();
  in.packs = packs_->Usage();
  in.catalog = catalog_->Stats();
  in.contents = contents_->counters();
  in.pending = digester_->Pending();
  in.digest_error = digester_->last_error();
  in.fence_reason = live_->fence_reason();
  in.recovery = recovery_;
  in.uptime_seconds = static_cast<double>(clock_.MonotonicNs() - opened_ns_) / 1e9;
  if (const Result<struct statvfs> space = disk_->Space(); space.ok())
    in.free_bytes = static_cast<uint64_t>(space->f_bavail) * space->f_frsize;
  {
    MutexLock lock(tree_->mutex());
    in.hot_bytes = hot_->bytes();
    in.hot_files = hot_->files();
  }
  return MakeStatusJson(in);
}

}  // namespace

Result<std::unique_ptr<Volume>> OpenVolume(const std::string& store_path,
                                           const VolumeOptions& options, KernelChannel& kernel) {
  auto volume = std::make_unique<StoreVolume>(store_path, options, kernel);
  RETURN_IF_ERROR(volume->Open());
  return std::unique_ptr<Volume>(std::move(volume));
}

}  // namespace varve
