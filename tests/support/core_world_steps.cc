// What CoreWorld does at random.

#include <fcntl.h>
#include <gtest/gtest.h>
#include <stdio.h>

#include "tests/support/core_world.h"

namespace varve::testing {
namespace {

constexpr const char* kNames[] = {"a", "b", "c", "d", "m.safetensors", "last.pt"};
constexpr int64_t kMillisecond = 1'000'000;
constexpr size_t kHandlesMax = 6;
constexpr size_t kBlobsMax = 12;

}  // namespace

InodeNumber CoreWorld::AnyDirectory() {
  std::vector<InodeNumber> all;
  for (const auto& [inode, node] : model().nodes)
    if (S_ISDIR(node.mode) && (inode == kRootNode || !model().NamesOf(inode).empty()))
      all.push_back(inode);
  return all[random_.Below(all.size())];
}

InodeNumber CoreWorld::AnyFile() {
  std::vector<InodeNumber> all;
  for (const auto& [inode, node] : model().nodes)
    if (S_ISREG(node.mode) && !model().NamesOf(inode).empty()) all.push_back(inode);
  return all.empty() ? 0 : all[random_.Below(all.size())];
}

// A name that something may have or not.
LinkName CoreWorld::AnyPlace() {
  return {AnyDirectory(), kNames[random_.Below(std::size(kNames))]};
}

// A name that something has, if there is any.
LinkName CoreWorld::AnyName() {
  std::vector<LinkName> all;
  for (const auto& [inode, node] : model().nodes)
    for (const auto& [name, child] : node.names) all.push_back({inode, name});
  return all.empty() ? AnyPlace() : all[random_.Below(all.size())];
}

std::string CoreWorld::AnyBytes() {
  if (!blobs_.empty() && random_.Chance(1, 3)) return blobs_[random_.Below(blobs_.size())];
  const uint64_t most = random_.Chance(1, 12) ? 300'000 : random_.Chance(1, 4) ? 20'000 : 1'500;
  const size_t size = static_cast<size_t>(random_.Between(1, most));
  std::string bytes;
  if (random_.Chance(1, 4)) {
    bytes.assign(size, static_cast<char>('a' + random_.Below(26)));
  } else if (random_.Chance(1, 8)) {
    bytes.assign(size, '\0');
  } else {
    bytes = random_.Bytes(size);
  }
  if (blobs_.size() < kBlobsMax) {
    blobs_.push_back(bytes);
  } else {
    blobs_[random_.Below(kBlobsMax)] = bytes;
  }
  return bytes;
}

std::optional<size_t> CoreWorld::AnyHandle(bool writable) {
  std::vector<size_t> all;
  for (size_t i = 0; i < handles_.size(); ++i)
    if (!writable || handles_[i].writable) all.push_back(i);
  if (all.empty()) return std::nullopt;
  return all[random_.Below(all.size())];
}

void CoreWorld::ForgetNewest() {
  if (known_.empty()) return;
  const auto [node, lookups] = known_.back();
  known_.pop_back();
  store_.parts().live().Forget(node, lookups);
  if (store_.crashed()) dead_ = true;
}

void CoreWorld::RemoveForgotten() {
  store_.parts().live().RemoveForgotten();
  if (store_.crashed()) dead_ = true;
}

void CoreWorld::Step() {
  if (!alive()) return;
  Wait(static_cast<int64_t>(random_.Below(30)) * kMillisecond);
  if (random_.Chance(1, 8)) ForgetNewest();
  if (!alive()) return;
  const uint64_t dice = random_.Below(100);
  const std::optional<size_t> handle = AnyHandle(false);
  if (handle && dice < 48) {
    StepHandle(*handle);
  } else if (dice < 62) {
    StepFile();
  } else if (dice < 80) {
    StepNames();
  } else if (dice < 86) {
    StepAttributes();
  } else {
    StepBackground();
  }
}

void CoreWorld::StepNames() {
  switch (random_.Below(12)) {
    case 0:
    case 1:
      Make(AnyPlace(), S_IFDIR | 0755);
      return;
    case 2:
      Link(AnyFile() != 0 ? AnyFile() : AnyDirectory(), AnyPlace());
      return;
    case 3:
    case 4:
      Unlink(AnyName());
      return;
    case 5:
      RemoveDirectory(AnyName());
      return;
    case 6:
      random_.Chance(1, 2) ? Symlink(AnyPlace()) : Make(AnyPlace(), S_IFREG | 0600);
      return;
    case 7:
      Rename(AnyName(), AnyName(), RENAME_EXCHANGE);
      return;
    case 8:
      Rename(AnyName(), AnyPlace(), RENAME_NOREPLACE);
      return;
    default:
      Rename(AnyName(), random_.Chance(1, 2) ? AnyName() : AnyPlace(), 0);
  }
}

void CoreWorld::StepAttributes() {
  const LinkName name = AnyName();
  const InodeNumber inode = model().Find(name) != 0 ? model().Find(name) : kRootNode;
  const std::string xattr = std::string("user.") + kNames[random_.Below(3)];
  switch (random_.Below(6)) {
    case 0:
      if (!S_ISLNK(model().nodes.at(inode).mode))
        ChangeMode(inode,
                   static_cast<mode_t>(random_.Chance(1, 3) ? 0555 : 0600 | random_.Below(0200)));
      return;
    case 1:
      ChangeOwner(inode, static_cast<uid_t>(random_.Below(5)));
      return;
    case 2:
      ChangeTimes(inode);
      return;
    case 3:
      RemoveXattr(inode, xattr);
      return;
    default:
      SetXattr(inode, xattr, random_.Bytes(static_cast<size_t>(random_.Below(200))));
  }
}

void CoreWorld::StepFile() {
  if (handles_.size() >= kHandlesMax) {
    Flush(handles_.size() - 1);
    Release(handles_.size() - 1);
    return;
  }
  const InodeNumber file = AnyFile();
  const uint64_t dice = random_.Below(12);
  if (file == 0 || dice < 3) {
    if (Create(AnyPlace(), random_.Chance(1, 3) ? O_RDWR : O_WRONLY) && alive())
      if (random_.Chance(2, 3)) Write(handles_.size() - 1, 0, AnyBytes());
    return;
  }
  if (dice < 4) {
    const uint64_t size = model().nodes.at(file).bytes->size();
    Truncate(file, random_.Chance(1, 3) ? 0 : random_.Below(size + 2000), std::nullopt);
  } else if (dice < 7) {
    Open(file, O_WRONLY | O_TRUNC);
  } else if (dice < 8) {
    Open(file, random_.Chance(1, 8) ? O_RDONLY | O_TRUNC : O_RDONLY);
  } else {
    Open(file, random_.Chance(1, 3) ? O_WRONLY | O_APPEND : O_RDWR);
  }
}

void CoreWorld::StepHandle(size_t index) {
  const Handle handle = handles_[index];
  const uint64_t size = model().nodes.at(handle.inode).bytes->size();
  const uint64_t dice = random_.Below(20);
  if (dice < 4) {
    if (!handle.writable || Flush(index)) Release(index);
  } else if (dice < 5 && handle.writable) {
    Flush(index);
  } else if (dice >= 7 && dice < 9) {
    Fsync(index);
  } else if (dice < 7 || !handle.writable) {
    Read(index);
  } else if (dice < 10) {
    Truncate(handle.inode, random_.Chance(1, 3) ? 0 : random_.Below(size + 5000), index);
  } else if (dice < 11 && size > 0) {
    Punch(index, random_.Below(size), random_.Between(1, 10'000));
  } else {
    const uint64_t at = random_.Chance(1, 2) ? size : random_.Below(size + 3000);
    Write(index, at, AnyBytes());
  }
}

void CoreWorld::StepBackground() {
  switch (random_.Below(17)) {
    case 14:
    case 15:
      Pin(AnyDirectory(), kNames[random_.Below(std::size(kNames))]);
      return;
    case 16:
      Unpin(AnyDirectory(), kNames[random_.Below(std::size(kNames))]);
      return;
    case 0:
    case 1:
    case 2:
    case 3:
      Wait(static_cast<int64_t>(random_.Between(100, 600)) * kMillisecond);
      Digest();
      return;
    case 4:
    case 5:
    case 6:
      Beat();
      return;
    case 7:
      Wait(static_cast<int64_t>(random_.Between(3'000, 4'000)) * kMillisecond);
      Beat();
      return;
    case 8:
      if (random_.Chance(1, 4)) Wait(61'000 * kMillisecond);
      if (random_.Chance(1, 2)) Collect();
      return;
    case 9:
      FsyncDirectory();
      return;
    case 10:
      Sync();
      return;
    case 11:
      if (random_.Chance(1, 4)) Check();
      return;
    default:
      ReadAnyVersion();
  }
}

}  // namespace varve::testing
