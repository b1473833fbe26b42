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
