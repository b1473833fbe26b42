#include "fs/core/volume.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <thread>

#include "fs/core/store_index.h"
#include "fs/core/store_lock.h"
#include "fs/core/store_parts.h"
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

  NodeOps& Nodes(NodeId node) override { return parts_->Nodes(node); }
  void SetMountFacts(const MountFacts& facts) override;
  void Disconnect() override;
  Status Drain(int64_t timeout_ns) override;
  std::string StatusJson() override;

 private:
  Status BuildParts();
  Status RecoverTree();

  const std::string path_;
  const VolumeOptions options_;
  KernelChannel& kernel_;
  SystemClock clock_;
  const int64_t opened_ns_ = clock_.MonotonicNs();

  std::optional<StoreLock> lock_;
  std::unique_ptr<PosixDisk> disk_;
  std::unique_ptr<Fingerprinter> fingerprinter_;
  std::unique_ptr<KeyValueStore> key_values_;
  std::unique_ptr<StoreParts> parts_;
  RecoveryReport recovery_;
  bool drained_ = false;

  Mutex facts_mutex_;
  MountFacts facts_ GUARDED_BY(facts_mutex_);
};

Status StoreVolume::Open() {
  if (mkdir(path_.c_str(), 0700) != 0 && errno != EEXIST)
    return Status::Errno(errno, "cannot make the store " + path_);
  ASSIGN_OR_RETURN(disk_, PosixDisk::Open(path_));
  RETURN_IF_ERROR(CheckIsStoreOrEmpty(*disk_, path_));
  ASSIGN_OR_RETURN(StoreLock lock, StoreLock::Acquire(path_, options_.mount_point));
  lock_.emplace(std::move(lock));
  ASSIGN_OR_RETURN(Superblock superblock, OpenSuperblock(*disk_, path_, clock_.Now().tv_sec));
  if (chmod(path_.c_str(), 0700) != 0)
    return Status::Errno(errno, "cannot make " + path_ + " private (mode 0700)");
  fingerprinter_ = std::make_unique<Fingerprinter>(std::move(superblock.secret));
  RETURN_IF_ERROR(BuildParts());
  RETURN_IF_ERROR(RecoverTree());
  const unsigned cores = std::max(1u, std::thread::hardware_concurrency());
  parts_->digester().Start(options_.threads > 0 ? options_.threads : std::clamp(cores / 2, 1u, 8u));
  parts_->committer().Start();
  parts_->collector().Start();
  parts_->scrubber().Start();
  return Status();
}

Status StoreVolume::BuildParts() {
  ASSIGN_OR_RETURN(key_values_, OpenStoreIndex(*disk_, path_, /*read_only=*/false));
  StoreParts::Options options;
  options.packs.io_uring = options_.io_uring;
  if (options_.threads > 0) options.contents.threads = options_.threads;
  options.passthrough = options_.passthrough;
  options.quiet_ns = options_.quiet_ns;
  options.mount_point = options_.mount_point;
  options.hot_bytes_max = options_.hot_bytes_max;
  options.history_yields = options_.history_yields;
  if (options.hot_bytes_max == 0) {
    ASSIGN_OR_RETURN(const struct statvfs space, disk_->Space());
    options.hot_bytes_max = static_cast<uint64_t>(space.f_blocks) * space.f_frsize / kHotShare;
  }
  options.root_uid = geteuid();
  options.root_gid = getegid();
  ASSIGN_OR_RETURN(parts_, StoreParts::Build({*disk_, *key_values_, *fingerprinter_, clock_,
                                              kernel_, [this] { return StatusJson(); }},
                                             options));
  return Status();
}

Status StoreVolume::RecoverTree() {
  ASSIGN_OR_RETURN(recovery_, parts_->RecoverTree());
  if (recovery_.kind != CrashKind::kClean)
    LogWarning(
        "the last mount ended without an umount ({}): {} contents go on, {} paths fell "
        "back, {} are torn",
        recovery_.kind == CrashKind::kPowerCut ? "power cut" : "daemon died", recovery_.finished,
        recovery_.fallen_back, recovery_.torn);
  return Status();
}

StoreVolume::~StoreVolume() {
  if (!parts_) return;
  parts_->scrubber().Stop();
  parts_->collector().Stop();
  Committer& committer = parts_->committer();
  parts_->digester().Stop();
  committer.Stop();
  Status status;
  if (drained_ && parts_->digester().Pending().files == 0) status = MarkClean(parts_->tree());
  if (status.ok()) status = committer.CommitNow();
  if (!status.ok()) LogError("the last commit failed: {}", status.ToString());
}

void StoreVolume::SetMountFacts(const MountFacts& facts) {
  {
    MutexLock lock(parts_->tree().mutex());
    parts_->files().SetPassthrough(options_.passthrough && facts.passthrough);
    parts_->files().SetDirectWrites(facts.direct_writes);
  }
  MutexLock lock(facts_mutex_);
  facts_ = facts;
}

void StoreVolume::Disconnect() {
  MutexLock lock(parts_->tree().mutex());
  parts_->files().CloseFlushedLocked();
}

Status StoreVolume::Drain(int64_t timeout_ns) {
  {
    MutexLock lock(parts_->tree().mutex());
    RETURN_IF_ERROR(parts_->files().CaptureAllLocked());
  }
  parts_->live().RemoveForgotten();
  RETURN_IF_ERROR(parts_->capture().CaptureAll());
  RETURN_IF_ERROR(parts_->digester().Drain(timeout_ns));
  RETURN_IF_ERROR(parts_->committer().CommitNow());
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
  in.store_uring_reason = parts_->packs().uring_reason();
  in.packs = parts_->packs().Usage();
  in.catalog = parts_->catalog().Stats();
  in.contents = parts_->contents().counters();
  in.pending = parts_->digester().Pending();
  in.digest_error = parts_->digester().last_error();
  in.fence_reason = parts_->live().fence_reason();
  in.recovery = recovery_;
  in.collection = parts_->collector().Progress();
  in.history_yields = options_.history_yields;
  in.scrub = parts_->scrubber().Progress();
  in.uptime_seconds = static_cast<double>(clock_.MonotonicNs() - opened_ns_) / 1e9;
  if (const Result<struct statvfs> space = disk_->Space(); space.ok())
    in.free_bytes = static_cast<uint64_t>(space->f_bavail) * space->f_frsize;
  {
    MutexLock lock(parts_->tree().mutex());
    in.hot_bytes = parts_->hot().bytes();
    in.hot_files = parts_->hot().files();
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
