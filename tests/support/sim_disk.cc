#include "tests/support/sim_disk.h"

#include <limits>
#include <utility>

#include "tests/support/sim_file.h"

namespace varve::testing {
namespace {

constexpr uint64_t kNever = std::numeric_limits<uint64_t>::max();
constexpr uint64_t kCapacityBytesDefault = uint64_t{1} << 40;
constexpr unsigned kAll = 256;

Status Failure(const Status& cause, const char* verb, const std::string& path) {
  return Status::Errno(cause.os_errno(), std::string(verb) + " " + path);
}

}  // namespace

SimDisk::SimDisk()
    : crash_at_(kNever), capacity_pages_(kCapacityBytesDefault / SimContent::kPageBytes) {}

SimDisk::~SimDisk() = default;

SimDisk::Verdict SimDisk::Admit(Kind kind, const std::string& what) {
  if (crashed_) return {false, 0, Status::Errno(EIO, what + ": the machine is gone")};
  const uint64_t call = calls_++;
  const uint64_t change = kind == Kind::kQuery ? kNever : changes_++;
  if (change != kNever && change == crash_at_) {
    crashed_ = true;
    // Which of the three it is depends on the place alone, so that a test repeats.
    Random random(change);
    constexpr unsigned kParts[] = {0, kAll, kAll / 2};
    const unsigned part = kParts[random.Below(kind == Kind::kWrite ? 3 : 2)];
    return {part > 0, part, Status::Errno(EIO, what + ": the machine crashed")};
  }
  auto failing = failing_.extract(call);
  if (failing.empty()) failing = failing_changes_.extract(change);
  if (!failing.empty()) {
    ++faults_;
    const int os_errno = failing.mapped();
    const unsigned part = kind == Kind::kWrite ? kAll / 2 : 0;
    return {part > 0, part, Status::Errno(os_errno, what)};
  }
  return {};
}

bool SimDisk::HasRoom(uint64_t pages) const {
  return pages <= capacity_pages_ && tree_.used_pages() <= capacity_pages_ - pages;
}

Result<std::unique_ptr<File>> SimDisk::Open(const std::string& path, OpenMode mode,
                                            OpenOptions options) {
  MutexLock lock(mutex_);
  const Result<SimTree::Place> found = tree_.Find(path);
  const bool missing = found.ok() && !found->inode;
  const bool may_create = mode == OpenMode::kCreate || mode == OpenMode::kCreateNew;
  const Verdict verdict =
      Admit(missing && may_create ? Kind::kChange : Kind::kQuery, "open " + path);
  if (!verdict.happens) return verdict.told;
  if (!found.ok()) return Failure(found.status(), "open", path);
  SimInodePointer inode = found->inode;
  if (missing && !may_create) return Status::Errno(ENOENT, "open " + path);
  if (!missing && mode == OpenMode::kCreateNew) return Status::Errno(EEXIST, "open " + path);
  const bool writable = mode != OpenMode::kRead;
  if (inode && inode->directory && writable) return Status::Errno(EISDIR, "open " + path);
  if (missing) inode = tree_.Create(*found, /*directory=*/false);
  if (!verdict.told.ok()) return verdict.told;
  ++inode->openers;
  if (writable) {
    ++inode->writers;
    inode->lease_broken = true;
  }
  return std::unique_ptr<File>(
      std::make_unique<SimFile>(*this, inode, path, writable, options.direct, process_));
}

Status SimDisk::Remove(const std::string& path) {
  MutexLock lock(mutex_);
  const Verdict verdict = Admit(Kind::kChange, "remove " + path);
  if (!verdict.happens) return verdict.told;
  const Result<SimTree::Place> place = tree_.Find(path);
  const Status outcome = place.ok() ? tree_.Remove(*place) : place.status();
  return outcome.ok() ? verdict.told : Failure(outcome, "remove", path);
}

Status SimDisk::Rename(const std::string& from, const std::string& to) {
  MutexLock lock(mutex_);
  const std::string both = from + " to " + to;
  const Verdict verdict = Admit(Kind::kChange, "rename " + both);
  if (!verdict.happens) return verdict.told;
  const Result<SimTree::Place> source = tree_.Find(from);
  if (!source.ok()) return Failure(source.status(), "rename", both);
  const Result<SimTree::Place> target = tree_.Find(to);
  if (!target.ok()) return Failure(target.status(), "rename", both);
  const Status outcome = tree_.Rename(*source, *target);
  return outcome.ok() ? verdict.told : Failure(outcome, "rename", both);
}

Status SimDisk::MakeDirectory(const std::string& path) {
  MutexLock lock(mutex_);
  const Verdict verdict = Admit(Kind::kChange, "make directory " + path);
  if (!verdict.happens) return verdict.told;
  const Result<SimTree::Place> place = tree_.Find(path);
  if (!place.ok()) return Failure(place.status(), "make directory", path);
  if (!place->inode) {
    tree_.Create(*place, /*directory=*/true);
  } else if (!place->inode->directory) {
    return Status::Errno(EEXIST, "make directory " + path);
  }
  return verdict.told;
}

Result<std::vector<std::string>> SimDisk::List(const std::string& path) {
  MutexLock lock(mutex_);
  const Verdict verdict = Admit(Kind::kQuery, "list " + path);
  if (!verdict.happens) return verdict.told;
  const Result<SimInodePointer> directory = tree_.FindDirectory(path);
  if (!directory.ok()) return Failure(directory.status(), "list", path);
  std::vector<std::string> names;
  for (const auto& [name, inode] : (*directory)->names) names.push_back(name);
  return names;
}

Result<struct stat> SimDisk::Stat(const std::string& path) {
  MutexLock lock(mutex_);
  const Verdict verdict = Admit(Kind::kQuery, "stat " + path);
  if (!verdict.happens) return verdict.told;
  const Result<SimTree::Place> place = tree_.Find(path);
  if (!place.ok()) return Failure(place.status(), "stat", path);
  if (!place->inode) return Status::Errno(ENOENT, "stat " + path);
  return place->inode->Stat();
}

Status SimDisk::SyncDirectory(const std::string& path) {
  MutexLock lock(mutex_);
  const Verdict verdict = Admit(Kind::kChange, "sync directory " + path);
  if (!verdict.happens) return verdict.told;
  const Result<SimInodePointer> directory = tree_.FindDirectory(path);
  if (!directory.ok()) return Failure(directory.status(), "sync directory", path);
  tree_.SyncDirectory(*directory);
  return verdict.told;
}

Result<struct statvfs> SimDisk::Space() {
  MutexLock lock(mutex_);
  const Verdict verdict = Admit(Kind::kQuery, "stat the filesystem of .");
  if (!verdict.happens) return verdict.told;
  struct statvfs space = {};
  space.f_bsize = space.f_frsize = SimContent::kPageBytes;
  space.f_blocks = capacity_pages_;
  const uint64_t used = tree_.used_pages();
  space.f_bfree = space.f_bavail = used < capacity_pages_ ? capacity_pages_ - used : 0;
  space.f_files = space.f_ffree = space.f_favail = uint64_t{1} << 32;
  space.f_namemax = 255;
  return space;
}

std::string SimDisk::PowerEpoch() {
  MutexLock lock(mutex_);
  return "simulated boot " + std::to_string(boot_);
}

uint64_t SimDisk::call_count() const {
  MutexLock lock(mutex_);
  return calls_;
}

uint64_t SimDisk::change_count() const {
  MutexLock lock(mutex_);
  return changes_;
}

void SimDisk::FailCall(uint64_t n, int os_errno) {
  MutexLock lock(mutex_);
  failing_[n] = os_errno;
}

void SimDisk::FailChange(uint64_t n, int os_errno) {
  MutexLock lock(mutex_);
  failing_changes_[n] = os_errno;
}

void SimDisk::DuringNextSync(std::function<void()> what) {
  MutexLock lock(mutex_);
  during_sync_ = std::move(what);
}

void SimDisk::RunDuringSync() {
  std::function<void()> what;
  {
    MutexLock lock(mutex_);
    what = std::exchange(during_sync_, nullptr);
  }
  if (what) what();
}

uint64_t SimDisk::fault_count() const {
  MutexLock lock(mutex_);
  return faults_;
}

void SimDisk::CrashAt(uint64_t n) {
  MutexLock lock(mutex_);
  crash_at_ = n;
}

bool SimDisk::crashed() const {
  MutexLock lock(mutex_);
  return crashed_;
}

void SimDisk::SetCapacity(uint64_t bytes) {
  MutexLock lock(mutex_);
  capacity_pages_ = bytes / SimContent::kPageBytes;
}

uint64_t SimDisk::used_bytes() const {
  MutexLock lock(mutex_);
  return tree_.used_pages() * SimContent::kPageBytes;
}

void SimDisk::Forget() {
  failing_.clear();
  failing_changes_.clear();
  crash_at_ = kNever;
  crashed_ = false;
  ++process_;
}

void SimDisk::PowerCut(uint64_t seed) {
  MutexLock lock(mutex_);
  Random random(seed);
  tree_.PowerCut(random);
  ++boot_;
  Forget();
}

void SimDisk::ProcessDeath() {
  MutexLock lock(mutex_);
  tree_.ProcessDeath();
  Forget();
}

std::unique_ptr<SimDisk> SimDisk::Copy() const {
  auto copy = std::make_unique<SimDisk>();
  MutexLock lock(mutex_);
  MutexLock copy_lock(copy->mutex_);
  copy->tree_ = tree_.Copy();
  copy->calls_ = calls_;
  copy->changes_ = changes_;
  copy->capacity_pages_ = capacity_pages_;
  copy->boot_ = boot_;
  return copy;
}

}  // namespace varve::testing
