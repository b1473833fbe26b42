#include "store/pack/pack_files.h"

#include "store/pack/pack_limits.h"

namespace varve {

Result<std::shared_ptr<File>> PackFiles::Get(uint32_t pack, bool direct) {
  const Key key = {pack, direct};
  uint64_t forgotten = 0;
  {
    MutexLock lock(mutex_);
    if (std::shared_ptr<File> file = Find(key)) return file;
    forgotten = forgotten_;
  }
  // Opened without the mutex, so that nobody waits for the disk to find a file
  // that is open already.
  ASSIGN_OR_RETURN(std::shared_ptr<File> opened, OpenAnew(pack, direct));
  MutexLock lock(mutex_);
  if (std::shared_ptr<File> file = Find(key)) return file;
  // Perhaps this very pack was removed between opening and now: not kept.
  if (forgotten_ != forgotten) return opened;
  recent_.emplace_front(key, std::move(opened));
  places_[key] = recent_.begin();
  if (recent_.size() > kOpenPacksMax) Drop(recent_.back().first);
  return recent_.front().second;
}

Result<std::shared_ptr<File>> PackFiles::OpenAnew(uint32_t pack, bool direct) {
  const std::string name = PackFileName(pack);
  Result<std::unique_ptr<File>> opened =
      disk_.Open(path_ + "/" + name, OpenMode::kRead, {.direct = direct});
  if (opened.status().code() == Code::kNotFound) {
    return Status(Code::kNotFound, name + " is missing");
  }
  RETURN_IF_ERROR(opened.status());
  return std::shared_ptr<File>(std::move(opened).value());
}

void PackFiles::Forget(uint32_t pack) {
  MutexLock lock(mutex_);
  ++forgotten_;
  for (const bool direct : {false, true}) Drop({pack, direct});
}

void PackFiles::Drop(const Key& key) {
  const auto found = places_.find(key);
  if (found == places_.end()) return;
  recent_.erase(found->second);
  places_.erase(found);
}

std::shared_ptr<File> PackFiles::Find(const Key& key) {
  const auto found = places_.find(key);
  if (found == places_.end()) return nullptr;
  recent_.splice(recent_.begin(), recent_, found->second);
  return recent_.front().second;
}

}  // namespace varve
