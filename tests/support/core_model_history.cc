// What becomes of the history of directories: docs/SEMANTICS.md, "Directory history".

#include <utility>

#include "tests/support/core_model.h"

namespace varve::testing {

Model::HistoryKey Model::KeyOf(InodeNumber directory) const {
  if (directory == kRootNode) return {nodes.at(kRootNode).history, "."};
  const LinkName place = NamesOf(directory).front();
  return {nodes.at(place.parent).history, place.name};
}

ModelCapture Model::CaptureOf(const DirectoryVersionRecord& record) const {
  ModelCapture capture{record, {}};
  std::vector<InodeNumber> next{record.inode};
  while (!next.empty()) {
    const InodeNumber inode = next.back();
    next.pop_back();
    const auto node = nodes.find(inode);
    if (node == nodes.end() || !capture.nodes.emplace(inode, node->second).second) continue;
    for (const auto& [name, child] : node->second.names) next.push_back(child);
  }
  return capture;
}

// "They go along, and are numbered on behind those that it had; so are the versions of the
// files in it, and of directories in it."
void Model::MoveDirectory(const LinkName& from, const LinkName& to, InodeNumber moved) {
  const HistoryKey from_key{nodes.at(from.parent).history, from.name};
  const HistoryKey to_key{nodes.at(to.parent).history, to.name};
  if (const HistoryId child = history.contains(to_key) ? history.at(to_key).child : 0; child != 0) {
    AppendHistory(moved, nodes.at(moved).history, child);
    nodes.at(moved).history = child;
    history.at(to_key).child = 0;
  }
  if (history.contains(from_key)) {
    ModelName name = history.at(from_key);
    AppendDirectories(&name, &history[to_key]);
    history[from_key] = name;
    if (name.empty()) history.erase(from_key);
  }
  if (history.contains(to_key) && history.at(to_key).empty()) history.erase(to_key);
}

void Model::AppendDirectories(ModelName* from, ModelName* to) {
  const VersionNumber after = to->last_directory;
  for (const auto& [number, capture] : from->directories) to->directories[after + number] = capture;
  const std::map<std::string, VersionNumber> taken = to->pins;
  for (const auto& [name, number] : from->pins) {
    std::string free = name;
    for (int suffix = 2; taken.contains(free); ++suffix) free = name + "." + std::to_string(suffix);
    to->pins[free] = after + number;
  }
  to->last_directory += from->last_directory;
  from->directories.clear();
  from->pins.clear();
  from->last_directory = 0;
}

// What the names of history `from` have continues what they have in `to`; `directory` is
// the one that has `from`, 0 when none has.
void Model::AppendHistory(InodeNumber directory, HistoryId from, HistoryId to) {
  std::vector<std::string> names;
  for (auto it = history.lower_bound({from, ""}); it != history.end() && it->first.first == from;
       ++it)
    names.push_back(it->first.second);
  for (const std::string& name : names) {
    ModelName old = std::move(history.at({from, name}));
    history.erase({from, name});
    ModelName& kept = history[{to, name}];
    for (const auto& [number, version] : old.versions) kept.versions[kept.last + number] = version;
    kept.last += old.last;
    AppendDirectories(&old, &kept);
    if (old.child == 0) continue;
    if (kept.child != 0) {
      AppendHistory(0, old.child, kept.child);
    } else {
      kept.child = old.child;
    }
  }
  if (directory == 0) return;
  // What was removed under its name continues in the directory that is there.
  for (const auto& [name, child] : nodes.at(directory).names) {
    const auto waits = history.find({to, name});
    if (!IsDirectory(child) || waits == history.end() || waits->second.child == 0) continue;
    const HistoryId waiting = std::exchange(waits->second.child, 0);
    if (waits->second.empty()) history.erase(waits);
    AppendHistory(child, nodes.at(child).history, waiting);
    nodes.at(child).history = waiting;
  }
}

}  // namespace varve::testing
