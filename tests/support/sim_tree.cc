#include "tests/support/sim_tree.h"

#include <algorithm>
#include <set>

#include "store/base/check.h"

namespace varve::testing {
namespace {

constexpr size_t kNameBytesMax = 255;
constexpr time_t kFirstSecond = 1'700'000'000;
constexpr int64_t kTicksPerSecond = 1'000'000;

bool Contains(const SimInode& directory, const SimInode* wanted) {
  if (&directory == wanted) return true;
  return std::any_of(directory.names.begin(), directory.names.end(),
                     [wanted](const auto& entry) { return Contains(*entry.second, wanted); });
}

}  // namespace

struct stat SimInode::Stat() const {
  struct stat attributes = {};
  attributes.st_dev = 1;
  attributes.st_ino = number;
  attributes.st_mode = directory ? S_IFDIR | 0700 : S_IFREG | 0600;
  attributes.st_nlink = directory ? 2 : named ? 1 : 0;
  attributes.st_size = static_cast<off_t>(content.size());
  attributes.st_blksize = SimContent::kPageBytes;
  attributes.st_blocks = static_cast<blkcnt_t>(content.page_count() * SimContent::kPageBytes / 512);
  attributes.st_atim = accessed;
  attributes.st_mtim = modified;
  attributes.st_ctim = changed;
  return attributes;
}

SimTree::SimTree() : root_(std::make_shared<SimInode>()) {
  root_->number = last_number_;
  root_->directory = true;
}

struct timespec SimTree::Now() {
  ++ticks_;
  return {kFirstSecond + ticks_ / kTicksPerSecond, ticks_ % kTicksPerSecond * 1000};
}

Result<SimTree::Place> SimTree::Find(const std::string& path) const {
  if (path == ".") return Place{nullptr, "", root_};
  Place place{nullptr, "", root_};
  std::string_view rest = path;
  for (;;) {
    const size_t slash = rest.find('/');
    const std::string_view name = rest.substr(0, slash);
    if (name.empty() || name == "." || name == "..") return Status::Errno(EINVAL);
    if (name.size() > kNameBytesMax) return Status::Errno(ENAMETOOLONG);
    if (!place.inode) return Status::Errno(ENOENT);
    if (!place.inode->directory) return Status::Errno(ENOTDIR);
    place.directory = place.inode;
    place.name = name;
    const auto found = place.directory->names.find(place.name);
    place.inode = found == place.directory->names.end() ? nullptr : found->second;
    if (slash == std::string_view::npos) return place;
    rest.remove_prefix(slash + 1);
  }
}

Result<SimInodePointer> SimTree::FindDirectory(const std::string& path) const {
  ASSIGN_OR_RETURN(const Place place, Find(path));
  if (!place.inode) return Status::Errno(ENOENT);
  if (!place.inode->directory) return Status::Errno(ENOTDIR);
  return place.inode;
}

SimInodePointer SimTree::Create(const Place& place, bool directory) {
  CHECK(!place.inode);
  auto inode = std::make_shared<SimInode>();
  inode->number = ++last_number_;
  inode->directory = directory;
  inode->accessed = inode->modified = inode->changed = Now();
  Apply({{place.directory, place.name, inode}});
  return inode;
}

Status SimTree::Remove(const Place& place) {
  if (!place.inode) return Status::Errno(ENOENT);
  if (!place.directory) return Status::Errno(EBUSY);
  if (!place.inode->names.empty()) return Status::Errno(ENOTEMPTY);
  Apply({{place.directory, place.name, nullptr}});
  return {};
}

Status SimTree::Rename(const Place& from, const Place& to) {
  if (!from.inode) return Status::Errno(ENOENT);
  if (!from.directory || !to.directory) return Status::Errno(EBUSY);
  if (from.inode == to.inode) return {};
  if (from.inode->directory && Contains(*from.inode, to.directory.get())) {
    return Status::Errno(EINVAL);
  }
  if (to.inode) {
    if (from.inode->directory && !to.inode->directory) return Status::Errno(ENOTDIR);
    if (!from.inode->directory && to.inode->directory) return Status::Errno(EISDIR);
    if (!to.inode->names.empty()) return Status::Errno(ENOTEMPTY);
  }
  Apply({{from.directory, from.name, nullptr}, {to.directory, to.name, from.inode}});
  return {};
}

void SimTree::Apply(Change change) {
  for (const Binding& binding : change) {
    SimInodePointer& slot = binding.directory->names[binding.name];
    const SimInodePointer before = std::exchange(slot, binding.inode);
    if (!binding.inode) binding.directory->names.erase(binding.name);
    // What a rename takes away here it gives a name in its last binding.
    if (before && before != change.back().inode) Unname(*before);
    binding.directory->modified = binding.directory->changed = Now();
  }
  pending_.push_back(std::move(change));
}

void SimTree::MakeDurable(const Change& change) {
  for (const Binding& binding : change) {
    if (binding.inode) {
      binding.directory->durable_names[binding.name] = binding.inode;
    } else {
      binding.directory->durable_names.erase(binding.name);
    }
  }
}

void SimTree::Unname(SimInode& inode) {
  inode.named = false;
  if (inode.openers == 0) used_pages_ -= inode.content.page_count();
}

void SimTree::Closed(const SimInode& inode) {
  if (!inode.named) used_pages_ -= inode.content.page_count();
}

void SimTree::SyncDirectory(const SimInodePointer& directory) {
  // Newest first, so that what a change builds on is known when it is reached.
  std::set<Key> needed;
  std::vector<bool> covered(pending_.size());
  for (size_t i = pending_.size(); i-- > 0;) {
    const Change& change = pending_[i];
    covered[i] = std::any_of(change.begin(), change.end(), [&](const Binding& binding) {
      return binding.directory == directory ||
             needed.count({binding.directory.get(), binding.name}) != 0;
    });
    if (!covered[i]) continue;
    for (const Binding& binding : change) needed.insert({binding.directory.get(), binding.name});
  }
  std::deque<Change> left;
  for (size_t i = 0; i < pending_.size(); ++i) {
    if (covered[i]) {
      MakeDurable(pending_[i]);
    } else {
      left.push_back(std::move(pending_[i]));
    }
  }
  pending_ = std::move(left);
}

void SimTree::PowerCut(Random& random) {
  const bool in_order = random.Chance(1, 2);
  const uint64_t kept = random.Below(pending_.size() + 1);
  std::set<Key> lost;
  for (size_t i = 0; i < pending_.size(); ++i) {
    const Change& change = pending_[i];
    const bool keep =
        in_order ? i < kept
                 : random.Chance(1, 2) &&
                       std::none_of(change.begin(), change.end(), [&](const Binding& binding) {
                         return lost.count({binding.directory.get(), binding.name}) != 0;
                       });
    if (keep) {
      MakeDurable(change);
    } else {
      for (const Binding& binding : change) lost.insert({binding.directory.get(), binding.name});
    }
  }
  pending_.clear();
  used_pages_ = 0;
  SurvivePowerCut(*root_, random);
}

void SimTree::SurvivePowerCut(SimInode& inode, Random& random) {
  inode.names = inode.durable_names;
  if (!inode.directory) inode.content.PowerCut(random);
  Revive(inode);
  for (const auto& [name, child] : inode.names) SurvivePowerCut(*child, random);
}

// As the next process finds it.
void SimTree::Revive(SimInode& inode) {
  inode.named = true;
  inode.openers = inode.writers = inode.leases = 0;
  inode.lease_broken = false;
  used_pages_ += inode.content.page_count();
}

void SimTree::ProcessDeath() {
  used_pages_ = 0;
  std::vector<SimInode*> found{root_.get()};
  while (!found.empty()) {
    SimInode* inode = found.back();
    found.pop_back();
    Revive(*inode);
    for (const auto& [name, child] : inode->names) found.push_back(child.get());
  }
}

SimTree SimTree::Copy() const {
  std::map<const SimInode*, SimInodePointer> copies;
  const auto copy = [&copies](const auto& self, const SimInodePointer& inode) -> SimInodePointer {
    if (!inode) return nullptr;
    const auto [entry, added] = copies.try_emplace(inode.get());
    if (!added) return entry->second;
    const auto made = std::make_shared<SimInode>(*inode);
    entry->second = made;
    for (auto& [name, child] : made->names) child = self(self, child);
    for (auto& [name, child] : made->durable_names) child = self(self, child);
    return made;
  };
  SimTree tree;
  tree.root_ = copy(copy, root_);
  tree.last_number_ = last_number_;
  tree.ticks_ = ticks_;
  for (const Change& change : pending_) {
    Change copied;
    for (const Binding& binding : change) {
      copied.push_back({copy(copy, binding.directory), binding.name, copy(copy, binding.inode)});
    }
    tree.pending_.push_back(std::move(copied));
  }
  tree.ProcessDeath();
  return tree;
}

}  // namespace varve::testing
