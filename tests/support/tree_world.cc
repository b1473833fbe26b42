#include "tests/support/tree_world.h"

#include <fcntl.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <set>

#include "fs/core/open_file.h"
#include "tests/support/core_dump.h"

namespace varve::testing {
namespace {

constexpr size_t kReadMax = 4 << 20;
constexpr size_t kNotesMax = 60;
const Caller kRoot{};

}  // namespace

TreeWorld::TreeWorld(uint64_t seed)
    : random_(seed), store_(SimStore::Options()), root_(std::make_shared<TreeNode>()) {
  root_->mode = S_IFDIR | 0755;
  const Status opened = store_.Open();
  if (!opened.ok()) Fail("open: " + opened.ToString());
}

TreeWorld::~TreeWorld() {
  for (const Handle& handle : handles_)
    std::unique_ptr<FileHandle>(reinterpret_cast<FileHandle*>(handle.handle)).reset();
}

void TreeWorld::Fail(const std::string& why) {
  std::string text = why + "\nlast steps:";
  for (const std::string& note : notes_) text += "\n  " + note;
  ADD_FAILURE() << text;
}

bool TreeWorld::Ended(const std::string& what, const Status& status, int expected) {
  ++counters_.steps;
  notes_.push_back(what + (status.ok() ? "" : " = " + status.ToString()));
  if (notes_.size() > kNotesMax) notes_.pop_front();
  if (status.os_errno() == ENOSPC) return false;  // the disk is small; nothing has changed
  if (status.ok() != (expected == 0) || (!status.ok() && status.os_errno() != expected))
    Fail(what + ": " + status.ToString() + ", expected errno " + std::to_string(expected));
  counters_.done += status.ok();
  return status.ok();
}

std::unique_ptr<PathWalk> TreeWorld::Walk() {
  return std::make_unique<PathWalk>([this](NodeId node) -> NodeOps& { return Ops(node); }, "");
}

// --- the model ---

TreePointer TreeWorld::Copy(const TreePointer& node) {
  auto copy = std::make_shared<TreeNode>(*node);
  copy->writers = 0;
  for (auto& [name, child] : copy->names) {
    const unsigned writers = child->writers;
    child = Copy(child);
    child->writers = writers;  // until it is known what it shows
  }
  return copy;
}

uint64_t TreeWorld::Size(const TreePointer& node) {
  uint64_t size = 1;
  for (const auto& [name, child] : node->names) size += Size(child);
  return size;
}

bool TreeWorld::Contains(const TreePointer& above, const TreePointer& node) {
  if (above == node) return true;
  return std::any_of(above->names.begin(), above->names.end(),
                     [&](const auto& entry) { return Contains(entry.second, node); });
}

TreePointer TreeWorld::Child(const Place& place) const {
  const auto found = place.node->names.find(place.name);
  return found == place.node->names.end() ? nullptr : found->second;
}

std::optional<std::string> TreeWorld::PathOf(const TreePointer& node) const {
  if (node == root_) return ".";
  std::vector<std::pair<std::string, TreePointer>> left = {{"", root_}};
  while (!left.empty()) {
    const auto [path, directory] = left.back();
    left.pop_back();
    for (const auto& [name, child] : directory->names) {
      const std::string here = path.empty() ? name : path + "/" + name;
      if (child == node) return here;
      if (S_ISDIR(child->mode)) left.emplace_back(here, child);
    }
  }
  return std::nullopt;
}

// The next mount makes a version of what has none.
void TreeWorld::Settle(const TreePointer& node) {
  if (node->writers > 0) node->closed.push_back(node->bytes);
  node->writers = 0;
  for (const auto& [name, child] : node->names) Settle(child);
}

// --- comparing ---

std::string TreeWorld::ReadFile(NodeId id) {
  const Result<Opened> opened = Ops(id).Open(kRoot, id, O_RDONLY);
  if (!opened.ok()) return "open: " + opened.status().ToString();
  const Result<std::string> bytes = ReadAll(Ops(id), id, opened->handle, kReadMax);
  Ops(id).Release(id, opened->handle);
  return bytes.ok() ? *bytes : "read: " + bytes.status().ToString();
}

void TreeWorld::Compare(const std::string& path, const TreePointer& node, bool settle) {
  const std::unique_ptr<PathWalk> walk = Walk();
  const Result<PathWalk::Found> found = walk->Run(kRoot, kRootNode, path);
  if (!found.ok()) return Fail(path + ": " + found.status().ToString());
  CompareNode(found->node, found->stat, path, node, settle);
}

void TreeWorld::CompareNode(NodeId id, const struct stat& stat, const std::string& path,
                            const TreePointer& node, bool settle) {
  ++counters_.nodes_compared;
  if ((stat.st_mode & S_IFMT) != (node->mode & S_IFMT)) return Fail(path + ": another kind");
  NodeOps& ops = Ops(id);
  const Result<std::string> listed = ops.ListXattr(kRoot, id);
  std::map<std::string, std::string> xattrs;
  for (size_t at = 0; listed.ok() && at < listed->size(); at = listed->find('\0', at) + 1) {
    const std::string name = listed->c_str() + at;
    const Result<std::string> value = ops.GetXattr(kRoot, id, name);
    if (value.ok()) xattrs[name] = *value;
  }
  if (xattrs != node->xattrs) return Fail(path + ": other attributes");
  if (S_ISLNK(node->mode)) {
    const Result<std::string> target = ops.ReadLink(id);
    if (!target.ok() || *target != node->target) Fail(path + ": another target");
    return;
  }
  if (S_ISREG(node->mode)) {
    const std::string bytes = ReadFile(id);
    if (settle && node->writers > 0) {
      // It was being written when it was captured.
      if (bytes != node->bytes &&
          std::find(node->closed.begin(), node->closed.end(), bytes) == node->closed.end())
        return Fail(path + ": it never was that (" + std::to_string(bytes.size()) + " bytes)");
      node->bytes = bytes;
      node->closed = {"", bytes};
      node->writers = 0;
    } else if (bytes != node->bytes) {
      return Fail(path + ": has " + std::to_string(bytes.size()) + " other bytes than the " +
                  std::to_string(node->bytes.size()) + " of the model");
    }
    const Result<Attributes> now = ops.GetAttributes(id, std::nullopt);
    if (!now.ok() || static_cast<size_t>(now->stat.st_size) != bytes.size())
      Fail(path + ": says another size");
    return;
  }
  const Result<Opened> opened = ops.OpenDirectory(kRoot, id);
  if (!opened.ok()) return Fail(path + ": " + opened.status().ToString());
  std::vector<std::string> names;
  std::set<uint64_t> cookies;
  const Status read = ops.ReadDirectory(kRoot, id, opened->handle, 0, false, [&](const auto& name) {
    if (!cookies.insert(name.next_cookie).second) Fail(path + ": a cookie twice");
    if (name.name != "." && name.name != "..") names.emplace_back(name.name);
    return true;
  });
  ops.ReleaseDirectory(id, opened->handle);
  if (!read.ok()) return Fail(path + ": " + read.ToString());
  std::sort(names.begin(), names.end());
  std::vector<std::string> expected;
  nlink_t links = 2;
  for (const auto& [name, child] : node->names) {
    expected.push_back(name);
    if (S_ISDIR(child->mode)) ++links;
  }
  if (names != expected) return Fail(path + ": has other names");
  if (stat.st_nlink != links) return Fail(path + ": has another number of links");
  for (const auto& [name, child] : node->names) {
    const Result<Entry> entry = ops.Lookup(kRoot, id, name);
    if (!entry.ok() || entry->node == 0) return Fail(path + "/" + name + ": cannot be looked up");
    CompareNode(entry->node, entry->attributes.stat, path + "/" + name, child, settle);
    Ops(entry->node).Forget(entry->node, 1);
  }
}

void TreeWorld::ComparePin(const Pin& pin) {
  const std::optional<std::string> directory = PathOf(pin.directory);
  if (!directory) return;
  const std::string path = *directory + "/.varve/history/" + pin.name;
  {
    const std::unique_ptr<PathWalk> walk = Walk();
    // A pin belongs to a name: it stays when what had the name goes.
    if (!walk->Run(kRoot, kRootNode, path).ok()) return;
  }
  ++counters_.pins_seen;
  Compare(path, pin.tree, false);
}

void TreeWorld::Check() {
  Compare(".", root_, false);
  for (const Pin& pin : pins_) ComparePin(pin);
  if (const std::string damage = store_.Fsck(false); !damage.empty()) Fail(damage);
}

// --- lives ---

void TreeWorld::Restart(Ending ending) {
  notes_.push_back("end " + std::to_string(static_cast<int>(ending)));
  if (ending != Ending::kProcessDeath) {
    while (!handles_.empty()) CloseHandle(handles_.size() - 1);
    StoreParts& parts = store_.parts();
    parts.digester().Hurry();
    parts.digester().RunReady();
    parts.committer().Beat();
    EXPECT_EQ(parts.digester().Pending().files, 0u);
    if (ending == Ending::kUmount) {
      EXPECT_TRUE(MarkClean(parts.tree()).ok());
    }
    EXPECT_TRUE(parts.committer().CommitNow().ok());
  }
  for (const Handle& handle : handles_)
    std::unique_ptr<FileHandle>(reinterpret_cast<FileHandle*>(handle.handle)).reset();
  handles_.clear();
  if (ending == Ending::kPowerCut) {
    store_.PowerCut(random_.Next());
  } else {
    store_.ProcessDeath();
  }
  Settle(root_);
  const Status opened = store_.Open();
  if (!opened.ok()) return Fail("open: " + opened.ToString());
}

}  // namespace varve::testing
