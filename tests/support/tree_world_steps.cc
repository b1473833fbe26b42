// What TreeWorld does at random.

#include <fcntl.h>
#include <gtest/gtest.h>
#include <stdio.h>

#include <algorithm>

#include "tests/support/core_dump.h"
#include "tests/support/tree_world.h"

namespace varve::testing {
namespace {

constexpr const char* kNames[] = {"a", "b", "c", "d", "e", "run", "last.pt", "m.safetensors"};
constexpr int64_t kMillisecond = 1'000'000;
constexpr size_t kHandlesMax = 4;
constexpr size_t kPinsMax = 6;
constexpr size_t kBlobsMax = 12;
constexpr size_t kClosedMax = 12;
constexpr uint64_t kNodesMax = 120;
const Caller kRoot{};

void Closed(TreeNode& node) {
  node.closed.push_back(node.bytes);
  if (node.closed.size() > kClosedMax) node.closed.erase(node.closed.begin());
}

bool AnyWriters(const TreePointer& node) {
  return node->writers > 0 || std::any_of(node->names.begin(), node->names.end(),
                                          [](auto& entry) { return AnyWriters(entry.second); });
}

}  // namespace

std::string TreeWorld::AnyBytes() {
  if (!blobs_.empty() && random_.Chance(1, 3)) return blobs_[random_.Below(blobs_.size())];
  const uint64_t most = random_.Chance(1, 20) ? 100'000 : random_.Chance(1, 4) ? 9'000 : 600;
  std::string bytes = random_.Bytes(static_cast<size_t>(random_.Between(1, most)));
  if (random_.Chance(1, 6)) bytes.assign(bytes.size(), 'z');
  blobs_.push_back(bytes);
  if (blobs_.size() > kBlobsMax) blobs_.erase(blobs_.begin());
  return bytes;
}

TreeWorld::Place TreeWorld::AnyPlace() {
  Place place{".", root_, kNames[random_.Below(std::size(kNames))]};
  while (random_.Chance(3, 4)) {
    const TreePointer child = Child(place);
    if (!child || !S_ISDIR(child->mode)) break;
    place = {place.path(), child, kNames[random_.Below(std::size(kNames))]};
  }
  return place;
}

std::optional<TreeWorld::Place> TreeWorld::AnyName() {
  for (int tries = 0; tries < 8; ++tries) {
    Place place = AnyPlace();
    if (place.node->names.empty()) continue;
    auto name = place.node->names.begin();
    std::advance(name, static_cast<ptrdiff_t>(random_.Below(place.node->names.size())));
    place.name = name->first;
    return place;
  }
  return std::nullopt;
}

void TreeWorld::Step() {
  store_.clock().Advance(static_cast<int64_t>(random_.Below(40)) * kMillisecond);
  if (Size(root_) > kNodesMax) {
    if (const auto name = AnyName()) RemoveAll(*name);
    return;
  }
  const std::optional<Place> name = AnyName();
  const Place place = AnyPlace();
  switch (random_.Below(32)) {
    case 0:
    case 1:
    case 2:
    case 3:
      return Save(place, true);
    case 4:
    case 5:
      return MakeDirectory(place);
    case 6:
    case 7:
    case 8:
      return ChangeInPlace(name ? *name : place);
    case 9:
      return OpenToWrite(name ? *name : place);
    case 10:
    case 11:
      return UseHandle();
    case 12:
      if (name) MakeLink(*name, place);
      return;
    case 13:
      return MakeSymlink(place);
    case 14:
      return SetXattr(name ? *name : place);
    case 15:
    case 16:
      return Remove(name ? *name : place);
    case 17:
      if (name && random_.Chance(1, 4)) RemoveAll(*name);
      return;
    case 18:
    case 19:
    case 20:
      if (name) Rename(*name, random_.Chance(1, 2) ? place : AnyName().value_or(place), 0);
      return;
    case 21:
      if (name) Rename(*name, AnyName().value_or(place), RENAME_EXCHANGE);
      return;
    case 22:
    case 23:
    case 24:
      return Clone();
    case 25:
      return PinSome();
    case 26:
      return random_.Chance(1, 3) ? Unpin() : (pins_.empty() ? void() : ComparePin(pins_.back()));
    case 27:
      // Some names are looked up, others never are.
      if (name && !S_ISLNK(Child(*name)->mode)) Compare(name->path(), Child(*name), false);
      return;
    default:
      return Background();
  }
}

void TreeWorld::Save(const Place& place, bool truncate) {
  const TreePointer present = Child(place);
  if (present && !S_ISREG(present->mode)) return;
  const std::unique_ptr<PathWalk> walk = Walk();
  const Result<PathWalk::Found> directory = walk->Run(kRoot, kRootNode, place.directory);
  if (!directory.ok()) return Fail(place.directory + ": " + directory.status().ToString());
  LiveNodes& live = store_.parts().live();
  const Result<Entry> entry = live.Lookup(kRoot, directory->node, place.name);
  if (!entry.ok()) return Fail(place.path() + ": " + entry.status().ToString());
  if ((entry->node != 0) != (present != nullptr)) return Fail(place.path() + ": is it there?");
  const std::string bytes = AnyBytes();
  NodeId node = entry->node;
  Result<Opened> opened = Status(Code::kInvalid);
  if (present) {
    opened = live.Open(kRoot, node, O_WRONLY | (truncate ? O_TRUNC : 0));
  } else {
    const Result<Created> created =
        live.Create(kRoot, directory->node, place.name, S_IFREG | 0644, O_WRONLY);
    if (created.ok()) node = created->entry.node;
    opened = created.ok() ? Result<Opened>(created->opened) : created.status();
  }
  if (!Ended("save " + place.path(), opened.status())) {
    if (present) live.Forget(node, 1);
    return;
  }
  const TreePointer file = present ? present : std::make_shared<TreeNode>();
  file->mode = S_IFREG | 0644;
  place.node->names[place.name] = file;
  if (truncate) file->bytes.clear();
  const uint64_t offset = truncate ? 0 : random_.Below(file->bytes.size() + 100);
  if (random_.Chance(9, 10)) {
    const Status written = live.Write(node, opened->handle, offset, AsBytes(bytes), false);
    if (Ended("  write " + std::to_string(bytes.size()) + " at " + std::to_string(offset),
              written)) {
      file->bytes.resize(std::max(file->bytes.size(), offset + bytes.size()), '\0');
      file->bytes.replace(offset, bytes.size(), bytes);
    }
  }
  Ended("  close", live.Flush(node, opened->handle));
  live.Release(node, opened->handle);
  Closed(*file);
  live.Forget(node, 1);
}

void TreeWorld::ChangeInPlace(const Place& place) {
  const TreePointer file = Child(place);
  if (!file || !S_ISREG(file->mode)) return;
  if (random_.Chance(3, 4)) return Save(place, false);
  const std::unique_ptr<PathWalk> walk = Walk();
  const Result<PathWalk::Found> found = walk->Run(kRoot, kRootNode, place.path());
  if (!found.ok()) return Fail(place.path() + ": " + found.status().ToString());
  AttributeChange change;
  change.size_bytes = random_.Chance(1, 3) ? 0 : random_.Below(file->bytes.size() + 300);
  const Status changed =
      store_.parts().live().SetAttributes(kRoot, found->node, change, std::nullopt).status();
  if (!Ended("truncate " + place.path() + " to " + std::to_string(*change.size_bytes), changed))
    return;
  file->bytes.resize(*change.size_bytes, '\0');
  if (file->writers == 0) Closed(*file);
}

void TreeWorld::OpenToWrite(const Place& place) {
  const TreePointer file = Child(place);
  if (!file || !S_ISREG(file->mode) || handles_.size() >= kHandlesMax) return;
  const std::unique_ptr<PathWalk> walk = Walk();
  const Result<PathWalk::Found> found = walk->Run(kRoot, kRootNode, place.path());
  if (!found.ok()) return Fail(place.path() + ": " + found.status().ToString());
  const Result<Opened> opened = store_.parts().live().Open(kRoot, found->node, O_RDWR);
  if (!Ended("open " + place.path(), opened.status())) return;
  ++file->writers;
  handles_.push_back({file, found->node, opened->handle});
}

void TreeWorld::UseHandle() {
  if (handles_.empty()) return;
  const size_t index = static_cast<size_t>(random_.Below(handles_.size()));
  const Handle& handle = handles_[index];
  if (random_.Chance(1, 3)) return CloseHandle(index);
  LiveNodes& live = store_.parts().live();
  if (random_.Chance(1, 4)) {
    Ended("fsync", live.Fsync(handle.id, handle.handle, false));
    return;
  }
  const std::string bytes = AnyBytes();
  std::string& now = handle.node->bytes;
  const uint64_t offset = random_.Below(now.size() + 100);
  const Status written = live.Write(handle.id, handle.handle, offset, AsBytes(bytes), false);
  if (!Ended("write to an open file", written)) return;
  now.resize(std::max(now.size(), offset + bytes.size()), '\0');
  now.replace(offset, bytes.size(), bytes);
}

void TreeWorld::CloseHandle(size_t index) {
  const Handle handle = handles_[index];
  handles_.erase(handles_.begin() + static_cast<ptrdiff_t>(index));
  LiveNodes& live = store_.parts().live();
  Ended("close an open file", live.Flush(handle.id, handle.handle));
  live.Release(handle.id, handle.handle);
  --handle.node->writers;
  Closed(*handle.node);
}

void TreeWorld::MakeDirectory(const Place& place) {
  const std::unique_ptr<PathWalk> walk = Walk();
  const Result<PathWalk::Found> parent = walk->Run(kRoot, kRootNode, place.directory);
  if (!parent.ok()) return Fail(place.directory + ": " + parent.status().ToString());
  const Result<Entry> made =
      store_.parts().live().MakeDirectory(kRoot, parent->node, place.name, 0755);
  if (!Ended("mkdir " + place.path(), made.status(), Child(place) ? EEXIST : 0)) return;
  store_.parts().live().Forget(made->node, 1);
  auto node = std::make_shared<TreeNode>();
  node->mode = S_IFDIR | 0755;
  place.node->names[place.name] = std::move(node);
}

void TreeWorld::MakeLink(const Place& from, const Place& to) {
  const TreePointer file = Child(from);
  if (!file || S_ISDIR(file->mode)) return;
  const std::unique_ptr<PathWalk> walk = Walk();
  const Result<PathWalk::Found> parent = walk->Run(kRoot, kRootNode, from.directory);
  const std::unique_ptr<PathWalk> other = Walk();
  const Result<PathWalk::Found> target = other->Run(kRoot, kRootNode, to.directory);
  if (!parent.ok() || !target.ok()) return Fail(from.path() + ": is not there");
  LiveNodes& live = store_.parts().live();
  const Result<Entry> entry = live.Lookup(kRoot, parent->node, from.name);
  if (!entry.ok() || entry->node == 0) return Fail(from.path() + ": cannot be looked up");
  const Result<Entry> made = live.MakeLink(kRoot, entry->node, target->node, to.name);
  live.Forget(entry->node, 1);
  if (!Ended("link " + from.path() + " " + to.path(), made.status(), Child(to) ? EEXIST : 0))
    return;
  live.Forget(made->node, 1);
  to.node->names[to.name] = file;
}

void TreeWorld::MakeSymlink(const Place& place) {
  const std::unique_ptr<PathWalk> walk = Walk();
  const Result<PathWalk::Found> parent = walk->Run(kRoot, kRootNode, place.directory);
  if (!parent.ok()) return Fail(place.directory + ": " + parent.status().ToString());
  const std::string target = "nowhere/" + std::to_string(random_.Below(100));
  const Result<Entry> made =
      store_.parts().live().MakeSymlink(kRoot, parent->node, place.name, target);
  if (!Ended("symlink " + place.path(), made.status(), Child(place) ? EEXIST : 0)) return;
  store_.parts().live().Forget(made->node, 1);
  auto node = std::make_shared<TreeNode>();
  node->mode = S_IFLNK | 0777;
  node->target = target;
  place.node->names[place.name] = std::move(node);
}

void TreeWorld::SetXattr(const Place& place) {
  const TreePointer node = Child(place);
  if (!node || S_ISLNK(node->mode)) return;
  const std::unique_ptr<PathWalk> walk = Walk();
  const Result<PathWalk::Found> found = walk->Run(kRoot, kRootNode, place.path());
  if (!found.ok()) return Fail(place.path() + ": " + found.status().ToString());
  LiveNodes& live = store_.parts().live();
  const std::string name = "user." + std::string(kNames[random_.Below(3)]);
  if (node->xattrs.contains(name) && random_.Chance(1, 3)) {
    if (Ended("remove " + name + " of " + place.path(), live.RemoveXattr(kRoot, found->node, name)))
      node->xattrs.erase(name);
    return;
  }
  const std::string value = random_.Bytes(static_cast<size_t>(random_.Below(40)));
  if (Ended("set " + name + " of " + place.path(),
            live.SetXattr(kRoot, found->node, name, AsBytes(value), 0)))
    node->xattrs[name] = value;
}

void TreeWorld::Remove(const Place& place) {
  const std::unique_ptr<PathWalk> walk = Walk();
  const Result<PathWalk::Found> parent = walk->Run(kRoot, kRootNode, place.directory);
  if (!parent.ok()) return Fail(place.directory + ": " + parent.status().ToString());
  const TreePointer node = Child(place);
  LiveNodes& live = store_.parts().live();
  const bool directory = node && S_ISDIR(node->mode);
  const int expected = !node ? ENOENT : directory && !node->names.empty() ? ENOTEMPTY : 0;
  const Status removed = directory ? live.RemoveDirectory(kRoot, parent->node, place.name)
                                   : live.RemoveFile(kRoot, parent->node, place.name);
  if (Ended("remove " + place.path(), removed, expected)) place.node->names.erase(place.name);
}

void TreeWorld::RemoveAll(const Place& place) {
  const TreePointer node = Child(place);
  if (!node) return;
  const auto names = node->names;
  for (const auto& [name, child] : names) RemoveAll({place.path(), node, name});
  Remove(place);
}

void TreeWorld::Rename(const Place& from, const Place& to, unsigned flags) {
  const TreePointer moved = Child(from);
  const TreePointer target = Child(to);
  const bool exchange = (flags & RENAME_EXCHANGE) != 0;
  if (!moved || (exchange && !target)) return;
  int expected = 0;
  if (moved == target) {
    expected = 0;
  } else if (Contains(moved, to.node) || (exchange && Contains(target, from.node))) {
    expected = EINVAL;
  } else if (target && !exchange) {
    if (S_ISDIR(target->mode)) {
      expected = !S_ISDIR(moved->mode) ? EISDIR : !target->names.empty() ? ENOTEMPTY : 0;
    } else if (S_ISDIR(moved->mode)) {
      expected = ENOTDIR;
    }
  }
  const std::unique_ptr<PathWalk> walk = Walk();
  const Result<PathWalk::Found> parent = walk->Run(kRoot, kRootNode, from.directory);
  const std::unique_ptr<PathWalk> other = Walk();
  const Result<PathWalk::Found> into = other->Run(kRoot, kRootNode, to.directory);
  if (!parent.ok() || !into.ok()) return Fail(from.path() + ": is not there");
  const Status renamed =
      store_.parts().live().Rename(kRoot, parent->node, from.name, {into->node, to.name, flags});
  if (!Ended("rename " + from.path() + " " + to.path(), renamed, expected) || moved == target)
    return;
  if (exchange) {
    from.node->names[from.name] = target;
  } else {
    from.node->names.erase(from.name);
  }
  to.node->names[to.name] = moved;
}

void TreeWorld::Clone() {
  const Place place = AnyPlace();
  if (Child(place)) return;
  // Of something live, or of a pin, or of something in one.
  std::string path = ".";
  TreePointer source = root_;
  bool of_pin = false;
  if (!pins_.empty() && random_.Chance(1, 3)) {
    const Pin& pin = pins_[random_.Below(pins_.size())];
    const std::optional<std::string> directory = PathOf(pin.directory);
    if (!directory) return;
    path = *directory + "/.varve/history/" + pin.name;
    source = pin.tree;
    of_pin = true;
    const std::unique_ptr<PathWalk> walk = Walk();
    if (!walk->Run(kRoot, kRootNode, path).ok()) return;
  }
  while (random_.Chance(2, 3)) {
    std::vector<std::pair<std::string, TreePointer>> below;
    for (const auto& [name, child] : source->names)
      if (S_ISDIR(child->mode)) below.emplace_back(name, child);
    if (below.empty()) break;
    const auto& [name, child] = below[random_.Below(below.size())];
    path += "/" + name;
    source = child;
  }
  if (Size(source) > kNodesMax / 2) return;
  MakeDirectory(place);
  const TreePointer clone = Child(place);
  if (!clone) return;
  const std::unique_ptr<PathWalk> walk = Walk();
  const Result<PathWalk::Found> found = walk->Run(kRoot, kRootNode, place.path());
  if (!found.ok()) return Fail(place.path() + ": " + found.status().ToString());
  // Seen from where the clone lies.
  std::string seen = path;
  if (place.directory != ".")
    for (size_t i = 0;
         i <= static_cast<size_t>(std::count(place.directory.begin(), place.directory.end(), '/'));
         ++i)
      seen = "../" + seen;
  const Status made =
      store_.parts().live().SetXattr(kRoot, found->node, "user.varve.clone_of", AsBytes(seen), 0);
  if (!Ended("clone " + path + " " + place.path(), made)) return;
  const TreePointer shown = Copy(source);
  clone->names = shown->names;
  clone->xattrs = shown->xattrs;
  ++counters_.clones;
  counters_.clones_of_pins += of_pin;
  if (AnyWriters(clone) || random_.Chance(1, 4)) Compare(place.path(), clone, true);
}

void TreeWorld::PinSome() {
  if (pins_.size() >= kPinsMax) return;
  const Place place = AnyPlace();
  const std::unique_ptr<PathWalk> walk = Walk();
  const Result<PathWalk::Found> found = walk->Run(kRoot, kRootNode, place.directory);
  if (!found.ok()) return Fail(place.directory + ": " + found.status().ToString());
  Pin pin{"pin" + std::to_string(++last_pin_), place.node, nullptr};
  const Status pinned = store_.parts().capture().Pin(found->node, pin.name);
  if (!Ended("pin " + place.directory + " as " + pin.name, pinned)) return;
  ++counters_.pins;
  pin.tree = Copy(place.node);
  pins_.push_back(pin);
  Compare(place.directory + "/.varve/history/" + pin.name, pin.tree, true);
}

void TreeWorld::Unpin() {
  if (pins_.empty()) return;
  const size_t index = static_cast<size_t>(random_.Below(pins_.size()));
  const Pin pin = pins_[index];
  pins_.erase(pins_.begin() + static_cast<ptrdiff_t>(index));
  const std::optional<std::string> directory = PathOf(pin.directory);
  if (!directory) return;
  const std::unique_ptr<PathWalk> walk = Walk();
  const Result<PathWalk::Found> found = walk->Run(kRoot, kRootNode, *directory);
  if (!found.ok()) return Fail(*directory + ": " + found.status().ToString());
  const Status gone = store_.parts().capture().Unpin(found->node, pin.name);
  Ended("unpin " + pin.name, gone.os_errno() == ENOENT ? Status() : gone);
}

void TreeWorld::Background() {
  StoreParts& parts = store_.parts();
  switch (random_.Below(8)) {
    case 0:
    case 1:
    case 2:
      store_.clock().Advance(300 * kMillisecond);
      parts.digester().RunReady();
      notes_.emplace_back("digest");
      return;
    case 3:
    case 4:
      store_.clock().Advance(static_cast<int64_t>(random_.Below(4000)) * kMillisecond);
      parts.committer().Beat();
      notes_.emplace_back("beat");
      return;
    case 5: {
      CollectOptions options;
      options.thorough = random_.Chance(1, 2);
      options.drop_hot = random_.Chance(1, 2);
      (void)parts.collector().Run(options);  // what it did not come to, the next one does
      notes_.emplace_back("collect");
      return;
    }
    default:
      if (!handles_.empty()) UseHandle();
  }
}

}  // namespace varve::testing
