// CoreWorld's lives: how they end, and what the next one may find.

#include <gtest/gtest.h>

#include <algorithm>
#include <memory>

#include "fs/core/open_file.h"
#include "tests/support/core_world.h"

namespace varve::testing {
namespace {

ModelNode NodeOf(const DumpedNode& have) {
  ModelNode node;
  node.mode = have.stat.st_mode;
  node.uid = have.stat.st_uid;
  node.gid = have.stat.st_gid;
  node.xattrs = have.xattrs;
  node.target = have.target;
  node.names = have.names;
  if (S_ISDIR(node.mode)) node.history = have.history;
  node.content = have.content;
  node.bytes = MakeBytes(have.bytes);
  return node;
}

}  // namespace

Expected CoreWorld::ExpectedOf(const Model& model, const Operation* interrupted,
                               Moment moment) const {
  Expected expected{model, contents_, moment, is_open() && Fenced()};
  for (const auto& [inode, open] : open_)
    if (open.writers > 0 || open.touched) expected.unsettled.insert(inode);
  for (const auto& [inode, node] : model.nodes)
    if (node.content != 0 && !captured_.contains(node.content)) expected.unsettled.insert(inode);
  expected.unsettled.insert(unsettled_.begin(), unsettled_.end());
  expected.half_done = unsettled_;
  expected.drifting = drifting_;
  MarkDrifting(model, &expected.drifting);
  if (interrupted != nullptr) {
    expected.unsettled.insert(interrupted->unsettled.begin(), interrupted->unsettled.end());
    expected.torn_between = interrupted->torn_between;
    for (const auto& [inode, between] : interrupted->torn_between) expected.half_done.insert(inode);
  }
  return expected;
}

void CoreWorld::MarkDrifting(const Model& model, std::set<ContentId>* drifting) const {
  for (const auto& [inode, open] : open_) {
    const auto node = model.nodes.find(inode);
    if (!open.touched || node == model.nodes.end()) continue;
    const ContentId content = node->second.content;
    if (captured_.contains(content) && model.NamedElsewhere(inode)) drifting->insert(content);
  }
}

// Gives a node that was being made the number that it got, if it was made.
void CoreWorld::Renumber(Model* model, const LinkName& place, const Dump& dump) {
  const auto made = model->nodes.find(kNewInode);
  if (made == model->nodes.end()) return;
  const auto parent = dump.nodes.find(place.parent);
  if (parent == dump.nodes.end()) return;
  const auto name = parent->second.names.find(place.name);
  if (name == parent->second.names.end()) return;
  ModelNode node = made->second;
  model->nodes.erase(made);
  if (node.history == kNewInode) node.history = name->second;
  model->nodes[name->second] = std::move(node);
  model->nodes[place.parent].names[place.name] = name->second;
}

void CoreWorld::End(Ending ending) {
  Note("end: " + std::to_string(static_cast<int>(ending)));
  if (ending == Ending::kUmount && alive() && !Fenced() && Drain()) {
    EXPECT_TRUE(MarkClean(store_.parts().tree()).ok());
    EXPECT_TRUE(store_.parts().committer().CommitNow().ok());
  }
  // The kernel's side of the open files; the store's side dies with the store.
  for (const Handle& handle : handles_)
    std::unique_ptr<FileHandle>(reinterpret_cast<FileHandle*>(handle.id)).reset();
  handles_.clear();
  known_.clear();
  if (ending == Ending::kPowerCut) {
    ++counters_.power_cuts;
    store_.PowerCut(random_.Next());
  } else {
    ++counters_.deaths;
    store_.ProcessDeath();
  }
  // Several ends in a row are as bad as the worst of them.
  const Moment moment = ending == Ending::kPowerCut ? Moment::kPowerCut : Moment::kProcessDeath;
  last_end_ = last_end_ ? std::max(*last_end_, moment) : moment;
  faults_before_.reset();
  fault_handled_ = false;
  dead_ = false;
}

void CoreWorld::Open() {
  const Status opened = store_.Open();
  if (opened.ok() && !store_.crashed()) {
    Note("open");
    if (last_end_) return JudgeRecovery();
    Model model;
    Dump dump = MakeDump(store_.parts());
    return Restart(std::move(model), dump, Moment::kNow);
  }
  Note("open = " + opened.ToString());
  if (!store_.crashed() && !FaultHit()) Fail("the store does not open: " + opened.ToString());
  if (!last_end_) last_end_ = Moment::kProcessDeath;
  dead_ = true;
}

void CoreWorld::JudgeRecovery() {
  counters_.finished += store_.report().finished;
  counters_.fallen_back += store_.report().fallen_back;
  counters_.torn += store_.report().torn;
  const Dump dump = MakeDump(store_.parts());
  const Moment moment = *last_end_;
  std::vector<Model> candidates;
  if (interrupted_ && interrupted_->expected == 0) {
    candidates.push_back(interrupted_->after);
    if (interrupted_->makes) Renumber(&candidates.back(), *interrupted_->makes, dump);
  }
  const size_t oldest = moment == Moment::kPowerCut || states_.empty() ? 0 : states_.size() - 1;
  for (size_t i = states_.size(); i > oldest; --i) candidates.push_back(states_[i - 1]);
  if (states_.empty()) {  // nothing was ever done
    if (dump.nodes.size() != 1 || !dump.history.empty()) return Fail("a new store is not empty");
    return Restart(Model(), dump, moment);
  }
  const Operation* const interrupted = interrupted_ ? &*interrupted_ : nullptr;
  std::string differences;
  std::string last_found;
  for (size_t i = 0; i < candidates.size(); ++i) {
    Model& candidate = candidates[i];
    std::set<ContentId> drifting;
    MarkDrifting(candidate, &drifting);  // also of files that nothing names
    candidate.DropUnnamed();
    Expected expected = ExpectedOf(candidate, interrupted, moment);
    expected.drifting.merge(drifting);
    const std::string found = FindDifference(dump, expected);
    if (found.empty()) {
      counters_.states_lost += i;
      Restart(std::move(candidate), dump, moment);
      if (const std::string damage = store_.Fsck(true); !damage.empty()) Fail(damage);
      return;
    }
    if (found != last_found) differences += "\n  state -" + std::to_string(i) + ": " + found;
    last_found = found;
  }
  Fail("after the crash (" + std::string(moment == Moment::kPowerCut ? "power cut" : "death") +
       ", " + std::to_string(candidates.size()) + " states):" + differences);
}

// The judged state is the first of a new life, and all of it is durable.
void CoreWorld::Restart(Model model, const Dump& dump, Moment moment) {
  Contents contents;
  const auto keep = [&](ContentId content, const std::string& bytes) {
    if (content == 0 || contents.contains(content)) return;
    const ContentRecord record = Peek(content);
    ContentFacts facts;
    const auto before = contents_.find(content);
    facts.stored = record.stored;
    facts.promised = record.stored || record.durable;
    facts.torn = record.torn;
    facts.base = record.falls_back_to();
    if (before != contents_.end() && moment != Moment::kPowerCut && !facts.stored)
      facts.states = before->second.states;
    if (facts.states.empty() || *facts.states.back() != bytes)
      facts.states.push_back(MakeBytes(bytes));
    captured_.insert(content);
    contents[content] = std::move(facts);
  };
  captured_.clear();
  drifting_.clear();
  unsettled_.clear();
  model.nodes.clear();
  for (const auto& [inode, have] : dump.nodes) {
    model.nodes[inode] = NodeOf(have);
    keep(have.content, have.bytes);
  }
  model.history.clear();
  for (const auto& [key, have] : dump.history) {
    ModelName& name = model.history[key];
    name.last = have.counters.last_version;
    name.child = have.counters.child_history;
    for (const auto& [number, version] : have.versions) {
      name.versions[number] = {version.record.content, MakeBytes(version.bytes)};
      keep(version.record.content, version.bytes);
    }
  }
  // Last: what was going on when it was captured, shows less of its content.
  for (const auto& [key, have] : dump.history) {
    ModelName& name = model.history[key];
    name.last_directory = have.counters.last_directory_version;
    name.pins = have.pins;
    for (const auto& [number, shown] : have.directories) {
      ModelCapture capture{shown.record, {}};
      for (const auto& [inode, node] : shown.nodes) {
        capture.nodes[inode] = NodeOf(node);
        keep(node.content, node.bytes);
      }
      name.directories[number] = std::make_shared<const ModelCapture>(std::move(capture));
    }
  }
  moment_ = store_.parts().tree().now();
  contents_ = std::move(contents);
  LearnBases();
  states_.clear();
  states_.push_back(std::move(model));
  open_.clear();
  interrupted_.reset();
  last_end_.reset();
}

// A content that no version names any more (recovery deletes those that it took the bytes
// from) is still what a later one was changed from, and leads to what came before it.
void CoreWorld::LearnBases() {
  std::vector<ContentId> next;
  for (const auto& [content, facts] : contents_) next.push_back(facts.base);
  while (!next.empty()) {
    const ContentId content = next.back();
    next.pop_back();
    if (content == 0 || contents_.contains(content)) continue;
    const Result<ContentRecord> record = store_.parts().tree().Content(content);
    if (!record.ok()) continue;
    ContentFacts facts;
    facts.stored = record->stored;
    facts.promised = record->stored || record->durable;
    facts.torn = record->torn;
    facts.base = record->falls_back_to();
    const Result<std::string> bytes = ReadContent(store_.parts(), content);
    if (!bytes.ok()) return Fail("a content cannot be read: " + bytes.status().ToString());
    facts.states = {MakeBytes(*bytes)};
    contents_[content] = std::move(facts);
    next.push_back(record->falls_back_to());
  }
}

}  // namespace varve::testing
