#include "fs/core/stage_area.h"

#include <sys/stat.h>

#include <charconv>
#include <cstdio>
#include <string_view>

#include "store/base/log.h"

namespace varve {
namespace {

constexpr size_t kSpareMax = 64;  // of a directory
constexpr std::string_view kSparePrefix = "spare-";

std::string DirectoryOf(StageId id) {
  char text[16];
  std::snprintf(text, sizeof(text), "stage/%02x",
                static_cast<unsigned>(id % StageArea::kDirectories));
  return text;
}

std::string NameOf(StageId id) {
  char text[24];
  std::snprintf(text, sizeof(text), "%016llx", static_cast<unsigned long long>(id));
  return text;
}

}  // namespace

std::string StageArea::PathOf(StageId id) { return DirectoryOf(id) + "/" + NameOf(id); }

// No number, so that neither List() nor a row of the index can mean it.
std::string StageArea::SparePathOf(StageId id) {
  return DirectoryOf(id) + "/" + std::string(kSparePrefix) + NameOf(id);
}

Result<std::unique_ptr<StageArea>> StageArea::Open(Disk& disk) {
  RETURN_IF_ERROR(disk.MakeDirectory("stage"));
  RETURN_IF_ERROR(disk.SyncDirectory("."));
  for (unsigned i = 0; i < kDirectories; ++i) RETURN_IF_ERROR(disk.MakeDirectory(DirectoryOf(i)));
  RETURN_IF_ERROR(disk.SyncDirectory("stage"));
  auto area = std::unique_ptr<StageArea>(new StageArea(disk));
  RETURN_IF_ERROR(area->RemoveSpares());
  return area;
}

// Those of the last mount: a power cut may have undone that they were emptied.
Status StageArea::RemoveSpares() {
  for (unsigned i = 0; i < kDirectories; ++i) {
    ASSIGN_OR_RETURN(const std::vector<std::string> names, disk_.List(DirectoryOf(i)));
    for (const std::string& name : names) {
      if (name.starts_with(kSparePrefix))
        RETURN_IF_ERROR(disk_.Remove(DirectoryOf(i) + "/" + name));
    }
  }
  return Status();
}

Result<std::shared_ptr<File>> StageArea::Create(StageId id) {
  if (const std::optional<StageId> spare = TakeSpare(id)) {
    // In its directory, so that one flush makes both names durable.
    if (disk_.Rename(SparePathOf(*spare), PathOf(id)).ok()) {
      ASSIGN_OR_RETURN(std::shared_ptr<File> file, Open(id, OpenMode::kReadWrite));
      const struct timespec now[2] = {{0, UTIME_NOW}, {0, UTIME_NOW}};
      RETURN_IF_ERROR(file->SetTimes(now));
      return file;
    }
  }
  return Open(id, OpenMode::kCreateNew);
}

std::optional<StageId> StageArea::TakeSpare(StageId id) {
  MutexLock lock(mutex_);
  std::vector<StageId>& spare = spare_[id % kDirectories];
  if (spare.empty()) return std::nullopt;
  const StageId taken = spare.back();
  spare.pop_back();
  return taken;
}

// A file that somebody has mapped, or that a process of an earlier mount still writes
// to, is not touched.
bool StageArea::KeepAsSpare(StageId id) {
  {
    MutexLock lock(mutex_);
    if (spare_[id % kDirectories].size() >= kSpareMax) return false;
  }
  const Result<std::shared_ptr<File>> file = Open(id, OpenMode::kReadWrite);
  if (!file.ok() || !(*file)->IsUsedAlone()) return false;
  if (!(*file)->Truncate(0).ok()) return false;
  if (!disk_.Rename(PathOf(id), SparePathOf(id)).ok()) return false;
  MutexLock lock(mutex_);
  spare_[id % kDirectories].push_back(id);
  return true;
}

Result<std::shared_ptr<File>> StageArea::Open(StageId id, OpenMode mode) {
  ASSIGN_OR_RETURN(std::unique_ptr<File> file, disk_.Open(PathOf(id), mode));
  return std::shared_ptr<File>(std::move(file));
}

Status StageArea::SyncName(StageId id) { return disk_.SyncDirectory(DirectoryOf(id)); }

Status StageArea::Sync(StageId id) {
  ASSIGN_OR_RETURN(const std::shared_ptr<File> file, Open(id, OpenMode::kRead));
  RETURN_IF_ERROR(file->SyncData());
  return SyncName(id);
}

Status StageArea::Copy(StageId source_id, StageId id) {
  const Status copied = [&]() -> Status {
    ASSIGN_OR_RETURN(const auto source, Open(source_id, OpenMode::kRead));
    ASSIGN_OR_RETURN(const auto copy, Create(id));
    ASSIGN_OR_RETURN(const struct stat stat, source->Stat());
    const uint64_t size = static_cast<uint64_t>(stat.st_size);
    RETURN_IF_ERROR(copy->Truncate(size));
    uint64_t done = 0;
    while (done < size) {
      ASSIGN_OR_RETURN(const uint64_t step, copy->CopyFrom(*source, done, done, size - done));
      if (step == 0) break;
      done += step;
    }
    // Recovery tells by its time whether a staging file was written since its capture.
    const struct timespec times[2] = {stat.st_atim, stat.st_mtim};
    return copy->SetTimes(times);
  }();
  if (!copied.ok()) Remove(id);
  return copied;
}

void StageArea::Remove(StageId id) {
  MutexLock lock(mutex_);
  removed_.push_back(id);
}

std::vector<StageId> StageArea::TakeRemoved() {
  MutexLock lock(mutex_);
  return std::exchange(removed_, {});
}

void StageArea::Reap(const std::vector<StageId>& removed) {
  for (const StageId id : removed) {
    if (KeepAsSpare(id)) continue;
    const Status status = disk_.Remove(PathOf(id));
    if (!status.ok() && status.code() != Code::kNotFound)
      LogWarning("cannot remove staging file {:x}: {}", id, status.ToString());
  }
}

Result<std::vector<StageId>> StageArea::List() {
  std::vector<StageId> ids;
  for (unsigned i = 0; i < kDirectories; ++i) {
    ASSIGN_OR_RETURN(const std::vector<std::string> names, disk_.List(DirectoryOf(i)));
    for (const std::string& name : names) {
      StageId id = 0;
      const auto [end, error] = std::from_chars(name.data(), name.data() + name.size(), id, 16);
      if (error == std::errc() && end == name.data() + name.size()) ids.push_back(id);
    }
  }
  return ids;
}

}  // namespace varve
