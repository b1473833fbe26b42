#include "tests/support/core_world.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/xattr.h>

#include "fs/fuse/errno.h"

namespace varve::testing {
namespace {

const Caller kRoot{};
constexpr size_t kNotesMax = 100;

SimStore::Options RandomOptions(Random& random) {
  SimStore::Options options;
  constexpr uint64_t kHot[] = {0, 200 << 10, 16 << 20};
  options.hot_bytes_max = kHot[random.Below(3)];
  options.pack_bytes = static_cast<uint32_t>(random.Between(100 << 10, 2 << 20));
  return options;
}

}  // namespace

CoreWorld::CoreWorld(uint64_t seed) : random_(seed), store_(RandomOptions(random_)) {}

CoreWorld::~CoreWorld() {
  if (is_open()) End(Ending::kProcessDeath);
}

bool CoreWorld::alive() { return !dead_ && is_open() && !::testing::Test::HasFailure(); }

void CoreWorld::Note(std::string what) {
  notes_.push_back(std::move(what));
  if (notes_.size() > kNotesMax) notes_.pop_front();
}

void CoreWorld::Fail(const std::string& why) {
  std::string steps;
  for (const std::string& note : notes_) steps += "\n  " + note;
  ADD_FAILURE() << why << "\nlast steps:" << steps;
  dead_ = true;
}

void CoreWorld::FailCall(uint64_t calls, int os_errno) {
  SimDisk& disk = store_.disk();
  faults_before_ = disk.fault_count();
  disk.FailCall(disk.call_count() + calls, os_errno);
}

void CoreWorld::FailChange(uint64_t changes, int os_errno) {
  SimDisk& disk = store_.disk();
  faults_before_ = disk.fault_count();
  disk.FailChange(disk.change_count() + changes, os_errno);
}

bool CoreWorld::FaultHit() {
  return faults_before_ && store_.disk().fault_count() > *faults_before_;
}

bool CoreWorld::Fenced() const { return store_.parts().live().fenced(); }

bool CoreWorld::Execute(Operation op) {
  if (!alive()) return false;
  ++counters_.steps;
  Note(op.what);
  const Status status = op.run();
  for (const InodeNumber inode : op.unsettled)
    notes_.back() += " [content " + std::to_string(ContentOf(inode)) + "]";
  const bool crashed = store_.crashed();
  if (!crashed && FaultHit() && (!fault_handled_ || (Fenced() && !status.ok())))
    return HandleFault(std::move(op), status);
  notes_.back() += status.ok() ? "" : " = " + status.ToString();
  if (crashed && !status.ok()) {
    dead_ = true;
    interrupted_ = std::move(op);
    return false;
  }
  if (status.ok()) {
    if (op.expected != 0) Fail("it succeeded, and should fail: " + std::to_string(op.expected));
    Adopt(std::move(op));
    dead_ |= crashed;
    return true;
  }
  if (ToErrno(status) != op.expected)
    Fail("it failed: " + status.ToString() + ", expected " + std::to_string(op.expected));
  return false;
}

void CoreWorld::Adopt(Operation op) {
  states_.push_back(std::move(op.after));
  MarkDrifting(model(), &drifting_);
  op.settle();
  MarkDrifting(model(), &drifting_);
  std::erase_if(states_.back().nodes, [&](const auto& entry) {
    return entry.first != kRootNode && !open_.contains(entry.first) &&
           model().NamesOf(entry.first).empty();
  });
}

// The injected fault came up in this operation, or it failed behind the fence.
bool CoreWorld::HandleFault(Operation op, const Status& status) {
  const bool first = !std::exchange(fault_handled_, true);
  notes_.back() += first ? " hit by the fault: " : ": ";
  notes_.back() += status.ToString();
  if (!first && !status.ok()) {  // fenced; Check() sees to it that nothing changed
    const int error = ToErrno(status);
    if (error != (op.syncs ? EIO : EROFS) && error != op.expected) Fail("behind the fence");
    return false;
  }
  ++counters_.faults;
  const Dump dump = MakeDump(store_.parts());
  const std::string now = FindDifference(dump, ExpectedOf(model(), &op, Moment::kNow));
  Model after = op.after;
  if (op.makes) Renumber(&after, *op.makes, dump);
  const std::string then = FindDifference(dump, ExpectedOf(after, &op, Moment::kNow));
  if (status.ok() && op.silent && !then.empty() && now.empty()) return false;
  if (status.ok()) {
    if (!then.empty()) Fail("it succeeded in spite of a fault, but: " + then);
    Adopt(std::move(op));
    return true;
  }
  const bool no_space = ToErrno(status) == ENOSPC;
  if (!now.empty() && (no_space || !then.empty())) {
    Fail("it failed, and changed something: " + now + "; nor is it done: " + then);
    return false;
  }
  if (!now.empty()) {
    Adopt(std::move(op));
    return false;
  }
  unsettled_.insert(op.unsettled.begin(), op.unsettled.end());
  for (const auto& [inode, between] : op.torn_between) {
    if (open_.contains(inode)) open_.at(inode).unsure = true;
    drifting_.insert(model().nodes.at(inode).content);
    Model torn = model();
    SetBytes(&torn, inode, MakeBytes(dump.nodes.contains(inode) ? dump.nodes.at(inode).bytes : ""));
    states_.push_back(std::move(torn));
  }
  if (no_space && op.expected == 0 && op.repeatable) {
    op.what = "again: " + op.what;
    return Execute(std::move(op));
  }
  interrupted_ = std::move(op);
  return false;
}

void CoreWorld::Check() {
  if (!alive()) return;
  const Dump dump = MakeDump(store_.parts());
  const std::string found = FindDifference(dump, ExpectedOf(model(), nullptr, Moment::kNow));
  if (!found.empty()) return Fail(found);
  if (const std::string damage = store_.Fsck(false); !damage.empty()) Fail(damage);
}

// --- names ---

bool CoreWorld::Create(const LinkName& place, int flags) {
  LiveNodes& live = store_.parts().live();
  Created created;
  Operation op{"create " + std::to_string(place.parent) + "/" + place.name, [&] {
                 Result<Created> made =
                     live.Create(kRoot, place.parent, place.name, S_IFREG | 0644, flags);
                 if (made.ok()) created = *made;
                 return made.status();
               }};
  op.after = model();
  ModelNode node;
  node.mode = S_IFREG | 0644;
  op.expected = op.after.Make(place, kNewInode, node);
  op.makes = place;
  op.settle = [&] {
    const InodeNumber inode = created.entry.node;
    Dump dump;
    dump.nodes[place.parent].names[place.name] = inode;
    Renumber(&states_.back(), place, dump);
    known_.emplace_back(inode, 1);
    Opened(inode, created.opened.handle, flags);
    Learn(inode);
  };
  return Execute(std::move(op));
}

bool CoreWorld::Make(const LinkName& place, mode_t mode) {
  LiveNodes& live = store_.parts().live();
  Entry entry;
  Operation op{"make " + std::to_string(place.parent) + "/" + place.name, [&] {
                 Result<Entry> made =
                     S_ISDIR(mode) ? live.MakeDirectory(kRoot, place.parent, place.name, mode)
                                   : live.MakeNode(kRoot, place.parent, place.name, mode, 0);
                 if (made.ok()) entry = *made;
                 return made.status();
               }};
  op.after = model();
  ModelNode node;
  node.mode = mode;
  op.expected = op.after.Make(place, kNewInode, node);
  op.makes = place;
  op.settle = [&] {
    Dump dump;
    dump.nodes[place.parent].names[place.name] = entry.node;
    Renumber(&states_.back(), place, dump);
    known_.emplace_back(entry.node, 1);
  };
  return Execute(std::move(op));
}

bool CoreWorld::Symlink(const LinkName& place) {
  LiveNodes& live = store_.parts().live();
  Entry entry;
  ModelNode node;
  node.mode = S_IFLNK | 0777;
  node.target = "../" + place.name;
  Operation op{"symlink " + place.name, [&] {
                 Result<Entry> made =
                     live.MakeSymlink(kRoot, place.parent, place.name, "../" + place.name);
                 if (made.ok()) entry = *made;
                 return made.status();
               }};
  op.after = model();
  op.expected = op.after.Make(place, kNewInode, node);
  op.makes = place;
  op.settle = [&] {
    Dump dump;
    dump.nodes[place.parent].names[place.name] = entry.node;
    Renumber(&states_.back(), place, dump);
    live.Forget(entry.node, 1);
  };
  return Execute(std::move(op));
}

bool CoreWorld::Link(InodeNumber inode, const LinkName& place) {
  LiveNodes& live = store_.parts().live();
  Operation op{
      "link " + std::to_string(inode) + " as " + std::to_string(place.parent) + "/" + place.name,
      [&] {
        const Result<Entry> made = live.MakeLink(kRoot, inode, place.parent, place.name);
        if (made.ok()) live.Forget(inode, 1);
        return made.status();
      }};
  op.after = model();
  op.expected = op.after.Link(inode, place, captured_);
  return Execute(std::move(op));
}

bool CoreWorld::Unlink(const LinkName& place) {
  Operation op{"unlink " + std::to_string(place.parent) + "/" + place.name,
               [&] { return store_.parts().live().RemoveFile(kRoot, place.parent, place.name); }};
  op.after = model();
  op.expected = op.after.Unlink(place);
  return Execute(std::move(op));
}

bool CoreWorld::RemoveDirectory(const LinkName& place) {
  Operation op{"rmdir " + std::to_string(place.parent) + "/" + place.name, [&] {
                 return store_.parts().live().RemoveDirectory(kRoot, place.parent, place.name);
               }};
  op.after = model();
  op.expected = op.after.RemoveDirectory(place);
  return Execute(std::move(op));
}

bool CoreWorld::Rename(const LinkName& from, const LinkName& to, unsigned flags) {
  Operation op{"rename " + std::to_string(from.parent) + "/" + from.name + " to " +
                   std::to_string(to.parent) + "/" + to.name + " flags " + std::to_string(flags),
               [&] {
                 return store_.parts().live().Rename(kRoot, from.parent, from.name,
                                                     {to.parent, to.name, flags});
               }};
  op.after = model();
  op.expected = op.after.Rename(from, to, flags, captured_);
  op.settle = [&] {
    const auto facts = contents_.find(model().nodes.at(model().Find(to)).content);
    if (facts != contents_.end()) facts->second.replaced = Peek(facts->first).base;
  };
  return Execute(std::move(op));
}

// --- attributes ---

bool CoreWorld::ChangeMode(InodeNumber inode, mode_t mode) {
  Operation op{
      "chmod " + std::to_string(inode), [&] {
        AttributeChange change;
        change.mode = mode;
        return store_.parts().live().SetAttributes(kRoot, inode, change, std::nullopt).status();
      }};
  op.after = model();
  ModelNode& node = op.after.nodes.at(inode);
  node.mode = (node.mode & S_IFMT) | mode;
  return Execute(std::move(op));
}

bool CoreWorld::ChangeOwner(InodeNumber inode, uid_t uid) {
  Operation op{
      "chown " + std::to_string(inode), [&] {
        AttributeChange change;
        change.uid = uid;
        return store_.parts().live().SetAttributes(kRoot, inode, change, std::nullopt).status();
      }};
  op.after = model();
  op.after.nodes.at(inode).uid = uid;
  return Execute(std::move(op));
}

bool CoreWorld::ChangeTimes(InodeNumber inode) {
  Operation op{
      "utimens " + std::to_string(inode), [&] {
        AttributeChange change;
        change.modify_time = {12345, 678};
        change.access_now = true;
        return store_.parts().live().SetAttributes(kRoot, inode, change, std::nullopt).status();
      }};
  op.after = model();
  return Execute(std::move(op));
}

bool CoreWorld::SetXattr(InodeNumber inode, const std::string& name, const std::string& value) {
  Operation op{"setxattr " + std::to_string(inode) + " " + name, [&] {
                 return store_.parts().live().SetXattr(kRoot, inode, name, AsBytes(value), 0);
               }};
  op.after = model();
  op.after.nodes.at(inode).xattrs[name] = value;
  return Execute(std::move(op));
}

bool CoreWorld::RemoveXattr(InodeNumber inode, const std::string& name) {
  Operation op{"removexattr " + std::to_string(inode) + " " + name,
               [&] { return store_.parts().live().RemoveXattr(kRoot, inode, name); }};
  op.after = model();
  op.expected = op.after.nodes.at(inode).xattrs.erase(name) == 0 ? ENODATA : 0;
  return Execute(std::move(op));
}

}  // namespace varve::testing
