// CoreWorld's durability: what promises it, and what happens in the background.

#include <gtest/gtest.h>

#include "fs/core/history.h"
#include "tests/support/core_world.h"

namespace varve::testing {
namespace {

const Caller kRoot{};
constexpr int64_t kDurableNs = int64_t{3} * 1'000'000'000;
constexpr int64_t kSnapshotNs = int64_t{60} * 1'000'000'000;

}  // namespace

void CoreWorld::Promise() {
  for (auto& [content, facts] : contents_) {
    if (facts.stored) {
      facts.promised = true;
      facts.states = {facts.states.back()};
    }
  }
  states_.erase(states_.begin(), states_.end() - 1);
}

bool CoreWorld::Fsync(size_t index) {
  const Handle handle = handles_[index];
  Operation op{"fsync " + std::to_string(handle.inode),
               [&] { return store_.parts().live().Fsync(handle.inode, handle.id, false); }};
  op.after = model();
  op.repeatable = false;
  op.syncs = true;
  op.settle = [&] {
    const auto facts = contents_.find(model().nodes.at(handle.inode).content);
    if (facts != contents_.end()) {
      facts->second.promised = true;
      facts->second.states = {facts->second.states.back()};
    }
    Promise();
    OpenState& open = open_.at(handle.inode);
    const int64_t now = store_.clock().MonotonicNs();
    if (open.writers == 0 || now - open.snapshot_ns < kSnapshotNs) return;
    open.snapshot_ns = now;
    open.wants_snapshot = true;
  };
  return Execute(std::move(op));
}

bool CoreWorld::FsyncDirectory() {
  Operation op{"fsync of a directory",
               [&] { return store_.parts().live().FsyncDirectory(kRootNode, 0, false); }};
  op.after = model();
  op.repeatable = false;
  op.syncs = true;
  op.settle = [&] { Promise(); };
  return Execute(std::move(op));
}

bool CoreWorld::Sync() {
  Operation op{"sync", [&] {
                 return store_.parts().live().SetXattr(kRoot, kRootNode, "user.varve.sync",
                                                       AsBytes("1"), 0);
               }};
  op.after = model();
  op.repeatable = false;
  op.syncs = true;
  std::vector<InodeNumber> captures;
  for (const auto& [inode, open] : open_) {
    op.unsettled.insert(inode);
    if (WouldCapture(inode)) captures.push_back(inode);
  }
  for (const InodeNumber inode : captures) op.after.Capture(inode);
  op.settle = [&] {
    for (const InodeNumber inode : captures) Captured(inode);
    // What is open or pending is flushed.
    for (auto& [content, facts] : contents_) {
      if (!Peek(content).durable) continue;
      facts.promised = true;
      facts.states = {facts.states.back()};
    }
    Promise();
  };
  return Execute(std::move(op));
}

void CoreWorld::Digest() {
  Operation op{"digest", [&] {
                 store_.parts().digester().RunReady();
                 return store_.crashed() ? Status::Errno(EIO) : Status();
               }};
  op.after = model();
  op.repeatable = false;
  op.settle = [&] { LearnStored(); };
  Execute(std::move(op));
}

void CoreWorld::Collect() {
  CollectOptions options;
  options.thorough = random_.Chance(1, 2);
  options.drop_hot = random_.Chance(1, 2);
  Operation op{"collect", [&] {
                 // What it did not come to, the next one does.
                 (void)store_.parts().collector().Run(options);
                 return store_.crashed() ? Status::Errno(EIO) : Status();
               }};
  op.after = model();
  op.repeatable = false;
  Execute(std::move(op));
}

bool CoreWorld::TakesSnapshot(InodeNumber inode, const OpenState& open) {
  const ContentId content = model().nodes.at(inode).content;
  if (!open.wants_snapshot || open.writers == 0 || content == 0) return false;
  return !Peek(content).stored && !Peek(content).overlay && model().LinksOf(inode) > 0;
}

void CoreWorld::Beat() {
  std::vector<InodeNumber> snapshots;
  std::set<ContentId> durable;
  for (auto& [inode, open] : open_) {
    if (TakesSnapshot(inode, open)) snapshots.push_back(inode);
    open.wants_snapshot = false;
  }
  for (const auto& [content, facts] : contents_)
    if (Peek(content).durable) durable.insert(content);
  Operation op{"beat", [&] {
                 store_.parts().committer().Beat();
                 return store_.crashed() ? Status::Errno(EIO) : Status();
               }};
  op.after = model();
  op.repeatable = false;
  op.unsettled.insert(snapshots.begin(), snapshots.end());
  op.settle = [&] {
    for (const InodeNumber inode : snapshots) {
      const LinkName place = model().NamesOf(inode).front();
      const HistoryId history = model().nodes.at(place.parent).history;
      const auto newest = History(store_.parts().catalog()).Latest(history, place.name);
      if (!newest.ok()) return Fail("an fsync captured nothing");
      const ContentId copy = newest->record.content;
      if (contents_.contains(copy)) return Fail("an fsync captured nothing new");
      contents_[copy].states = {model().nodes.at(inode).bytes};
      captured_.insert(copy);
      states_.back().CaptureAs(inode, copy);
      ++counters_.versions;
    }
    for (auto& [content, facts] : contents_) {
      if (durable.contains(content) || facts.stored || !Peek(content).durable) continue;
      facts.promised = true;
      facts.states = {facts.states.back()};
    }
    CheckClosedIsDurable();
    const CatalogStats stats = store_.parts().catalog().Stats();
    if (stats.committed_sequence == stats.applied_sequence) Promise();
  };
  Execute(std::move(op));
}

// Nobody writes it any more: its time runs.
void CoreWorld::Left(ContentId content) {
  const auto facts = contents_.find(content);
  if (facts != contents_.end() && facts->second.captured_ns != 0)
    facts->second.captured_ns = store_.clock().MonotonicNs();
}

// "Data that was closed is durable within 5 s", of which the disk has two.
void CoreWorld::CheckClosedIsDurable() {
  if (Fenced()) return;
  std::set<ContentId> written;
  for (const auto& [inode, open] : open_)
    if (open.writers > 0) written.insert(model().nodes.at(inode).content);
  const int64_t latest = store_.clock().MonotonicNs() - kDurableNs;
  for (const auto& [content, facts] : contents_)
    if (facts.captured_ns != 0 && facts.captured_ns <= latest && !written.contains(content) &&
        !Peek(content).durable)
      Fail("content " + std::to_string(content) + " is not durable long after its close");
}

bool CoreWorld::Drain() {
  while (!handles_.empty() && alive()) {
    Flush(handles_.size() - 1);
    if (alive()) Release(handles_.size() - 1);
  }
  if (!alive()) return false;
  store_.parts().digester().Hurry();
  Digest();
  if (!alive() || store_.parts().digester().Pending().files > 0) return false;
  Beat();
  return alive();
}

}  // namespace varve::testing
