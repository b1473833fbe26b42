#include "store/pack/pack_files.h"

#include "store/pack/pack_limits.h"

namespace varve {

Result<std::shared_ptr<File>> PackFiles::Get(uint32_t pack, bool direct) {
  const Key key = {pack, direct};
  {
    MutexLock lock(mutex_);
    if (std::shared_ptr<File> file = Find(key)) return file;
  }
  // Opened without the mutex, so that nobody waits for the disk to find a file
  // that is open already.
  const std::string name = PackFileName(pack);
  Result<std::unique_ptr<File>> opened =
      disk_.Open(path_ + "/" + name, OpenMode::kRead, {.direct = direct});
  if (opened.status().code() == Code::kNotFound) {
    return Status(Code::kCorrupt, name + " is missing");
  }
  if (!opened.ok()) return opened.status();
  MutexLock lock(mutex_);
  if (std::shared_ptr<File> file = Find(key)) return file;
  recent_.emplace_front(key, std::move(opened).value());
  places_[key] = recent_.begin();
  if (recent_.size() > kOpenPacksMax) {
    places_.erase(recent_.back().first);
    recent_.pop_back();
  }
  return recent_.front().second;
}

std::shared_ptr<File> PackFiles::Find(const Key& key) {
  const auto found = places_.find(key);
  if (found == places_.end()) return nullptr;
  recent_.splice(recent_.begin(), recent_, found->second);
  return recent_.front().second;
}

}  // namespace varve
