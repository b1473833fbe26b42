#include "tests/support/core_world.h"

#include <gtest/gtest.h>

#include "fs/fuse/errno.h"

namespace varve::testing {
namespace {

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
  LearnCaptures(true);
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

}  // namespace varve::testing
