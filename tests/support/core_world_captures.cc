// CoreWorld's captures of directories: those that it asks for, and those that the store
// makes by itself. Which there are, the store decides; what they show, the model knows.

#include <gtest/gtest.h>

#include "fs/core/directory_history.h"
#include "fs/core/past_tree.h"
#include "tests/support/core_world.h"

namespace varve::testing {

bool CoreWorld::Pin(InodeNumber directory, const std::string& name) {
  if (!model().IsDirectory(directory)) return false;
  Operation op{"pin " + std::to_string(directory) + " as " + name,
               [&] { return store_.parts().capture().Pin(directory, name); }};
  op.after = model();
  const auto pins = [&]() -> std::map<std::string, VersionNumber>& {
    return states_.back().history[model().KeyOf(directory)].pins;
  };
  const auto known = model().history.find(model().KeyOf(directory));
  if (known != model().history.end() && known->second.pins.contains(name)) op.expected = EEXIST;
  for (const auto& [inode, open] : open_) op.unsettled.insert(inode);
  op.settle = [&] {
    const varve::Moment before = moment_;
    LearnCaptures(false);
    if (moment_ != before + 1) return Fail("a pin captured nothing");
    pins()[name] = states_.back().history[model().KeyOf(directory)].last_directory;
  };
  return Execute(std::move(op));
}

bool CoreWorld::Unpin(InodeNumber directory, const std::string& name) {
  if (!model().IsDirectory(directory)) return false;
  Operation op{"unpin " + name + " of " + std::to_string(directory),
               [&] { return store_.parts().capture().Unpin(directory, name); }};
  op.after = model();
  const auto known = op.after.history.find(op.after.KeyOf(directory));
  if (known == op.after.history.end() || known->second.pins.erase(name) == 0) op.expected = ENOENT;
  return Execute(std::move(op));
}

// What is being written is shown as it was at that instant, which a copy keeps; what was
// opened and not written, and an overlay, is shown as its newest version.
void CoreWorld::LearnCapturedFile(InodeNumber inode, const DirectoryVersionRecord& record,
                                  ModelNode* node) {
  const Result<InodeRecord> shown = PastTree(store_.parts().tree(), record.moment).Inode(inode);
  if (!shown.ok()) return Fail("a captured file cannot be read: " + shown.status().ToString());
  const ContentId live = node->content;
  node->content = shown->content;
  if (shown->content == live && (live == 0 || Peek(live).captured)) {
    const auto open = open_.find(inode);
    if (open == open_.end() || open->second.writers == 0) return;
    // Closed, and not released: without a copy, writes through a duplicate would show.
    if (open->second.touched || open->second.unclosed > 0)
      return Fail("a capture shows what is being written");
    drifting_.insert(live);
    return;
  }
  if (shown->content == 0) {
    node->bytes = MakeBytes({});
    return;
  }
  if (!Peek(shown->content).captured) return Fail("a capture names what is not captured");
  const auto facts = contents_.find(shown->content);
  if (facts != contents_.end()) {
    node->bytes = facts->second.states.back();
    return;
  }
  contents_[shown->content].states = {node->bytes};
  captured_.insert(shown->content);
  ++counters_.copies;
}

void CoreWorld::LearnCaptures(bool apart) {
  const varve::Moment now = store_.parts().tree().now();
  if (now == moment_ || !is_open()) return;
  Catalog& catalog = store_.parts().catalog();
  std::map<HistoryId, Model::HistoryKey> lists;
  const key::Range names = key::Table(key::kName);
  Status scanned = catalog.Scan(names.begin, names.end, [&](auto row_key, auto row) {
    const Result<NameRecord> name = NameRecord::Decode(row);
    if (name.ok() && name->directory_versions != 0)
      lists[name->directory_versions] = {key::Id(row_key), std::string(key::NameOf(row_key))};
    return true;
  });
  if (apart) states_.push_back(model());
  Model& model = states_.back();
  const key::Range versions = key::Table(key::kDirectoryVersion);
  std::map<std::pair<Model::HistoryKey, VersionNumber>, DirectoryVersionRecord> found;
  const Status versions_scanned =
      catalog.Scan(versions.begin, versions.end, [&](auto row_key, auto row) {
        const Result<DirectoryVersionRecord> record = DirectoryVersionRecord::Decode(row);
        if (record.ok() && record->moment >= moment_)
          found[{lists[key::Id(row_key)], key::Number(row_key)}] = *record;
        return true;
      });
  if (!scanned.ok() || !versions_scanned.ok()) return Fail("captures cannot be listed");
  for (const auto& [where, record] : found) {
    const auto& [key, number] = where;
    if (!model.nodes.contains(record.inode)) return Fail("a directory was captured that is gone");
    if (model.KeyOf(record.inode) != key) return Fail("a capture has another's name");
    ModelName& name = model.history[key];
    if (number != name.last_directory + 1) return Fail("a capture has another's number");
    ModelCapture capture = model.CaptureOf(record);
    for (auto& [inode, node] : capture.nodes)
      if (S_ISREG(node.mode)) LearnCapturedFile(inode, record, &node);
    name.last_directory = number;
    name.directories[number] = std::make_shared<const ModelCapture>(std::move(capture));
    ++counters_.captures;
  }
  moment_ = now;
}

}  // namespace varve::testing
