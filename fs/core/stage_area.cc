#include "fs/core/stage_area.h"

#include <charconv>
#include <cstdio>

#include "store/base/log.h"

namespace varve {
namespace {

constexpr unsigned kDirectories = 64;
constexpr size_t kSpareMax = 64;

std::string DirectoryOf(StageId id) {
  char text[16];
  std::snprintf(text, sizeof(text), "stage/%02x", static_cast<unsigned>(id % kDirectories));
  return text;
}

}  // namespace

std::string StageArea::PathOf(StageId id) {
  char text[24];
  std::snprintf(text, sizeof(text), "/%016llx", static_cast<unsigned long long>(id));
  return DirectoryOf(id) + text;
}

Result<std::unique_ptr<StageArea>> StageArea::Open(Disk& disk) {
  RETURN_IF_ERROR(disk.MakeDirectory("stage"));
  RETURN_IF_ERROR(disk.SyncDirectory("."));
  for (unsigned i = 0; i < kDirectories; ++i) RETURN_IF_ERROR(disk.MakeDirectory(DirectoryOf(i)));
  RETURN_IF_ERROR(disk.SyncDirectory("stage"));
  return std::unique_ptr<StageArea>(new StageArea(disk));
}

Result<std::shared_ptr<File>> StageArea::Create(StageId id, StageId* used) {
  *used = 0;
  {
    MutexLock lock(mutex_);
    if (!spare_.empty()) {
      *used = spare_.back();
      spare_.pop_back();
    }
  }
  if (*used != 0) return Open(*used, OpenMode::kReadWrite);
  *used = id;
  return Open(id, OpenMode::kCreateNew);
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

Result<StageId> StageArea::Copy(StageId source_id, StageId id) {
  StageId copy_id = 0;
  const Status copied = [&]() -> Status {
    ASSIGN_OR_RETURN(const auto source, Open(source_id, OpenMode::kRead));
    ASSIGN_OR_RETURN(const auto copy, Create(id, &copy_id));
    ASSIGN_OR_RETURN(const struct stat stat, source->Stat());
    const uint64_t size = static_cast<uint64_t>(stat.st_size);
    RETURN_IF_ERROR(copy->Truncate(size));
    uint64_t done = 0;
    while (done < size) {
      ASSIGN_OR_RETURN(const uint64_t step, copy->CopyFrom(*source, done, done, size - done));
      if (step == 0) break;
      done += step;
    }
    return Status();
  }();
  if (copied.ok()) return copy_id;
  if (copy_id != 0) Remove(copy_id);
  return copied;
}

void StageArea::Recycle(StageId id) {
  MutexLock lock(mutex_);
  if (spare_.size() < kSpareMax) {
    spare_.push_back(id);
  } else {
    removed_.push_back(id);
  }
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
