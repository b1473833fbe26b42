#include "tests/support/core_model.h"

#include <stdio.h>

#include <cerrno>

#include "store/base/check.h"

namespace varve::testing {

BytesPointer MakeBytes(std::string bytes) {
  return std::make_shared<const std::string>(std::move(bytes));
}

InodeNumber Model::Find(const LinkName& place) const {
  const auto node = nodes.find(place.parent);
  if (node == nodes.end()) return 0;
  const auto name = node->second.names.find(place.name);
  return name == node->second.names.end() ? 0 : name->second;
}

bool Model::IsDirectory(InodeNumber inode) const {
  const auto node = nodes.find(inode);
  return node != nodes.end() && S_ISDIR(node->second.mode);
}

std::vector<LinkName> Model::NamesOf(InodeNumber inode) const {
  std::vector<LinkName> names;
  for (const auto& [parent, node] : nodes)
    for (const auto& [name, child] : node.names)
      if (child == inode) names.push_back({parent, name});
  return names;
}

nlink_t Model::LinksOf(InodeNumber inode) const {
  const nlink_t names = NamesOf(inode).size();
  if (!IsDirectory(inode)) return names;
  nlink_t links = 2;
  for (const auto& [name, child] : nodes.at(inode).names)
    if (IsDirectory(child)) ++links;
  return links;
}

InodeNumber Model::ParentOf(InodeNumber directory) const {
  const std::vector<LinkName> names = NamesOf(directory);
  return names.empty() ? 0 : names.front().parent;
}

std::string Model::PathOf(InodeNumber inode) const {
  std::string path;
  while (inode != kRootNode) {
    const std::vector<LinkName> names = NamesOf(inode);
    if (names.empty()) return "(inode " + std::to_string(inode) + ")" + path;
    path = "/" + names.front().name + path;
    inode = names.front().parent;
  }
  return path.empty() ? "/" : path;
}

bool Model::IsBelow(InodeNumber directory, InodeNumber ancestor) const {
  for (; directory != 0; directory = ParentOf(directory))
    if (directory == ancestor) return true;
  return false;
}

int Model::CheckNew(const LinkName& place) const {
  if (!IsDirectory(place.parent)) return ENOTDIR;
  return Find(place) != 0 ? EEXIST : 0;
}

int Model::Make(const LinkName& place, InodeNumber inode, ModelNode node) {
  if (const int error = CheckNew(place); error != 0) return error;
  if (S_ISDIR(node.mode)) {
    const auto waits = history.find({nodes.at(place.parent).history, place.name});
    node.history = inode;
    if (waits != history.end() && waits->second.child != 0) {
      node.history = std::exchange(waits->second.child, 0);
      if (waits->second.empty()) history.erase(waits);
    }
  }
  nodes[inode] = std::move(node);
  nodes[place.parent].names[place.name] = inode;
  return 0;
}

int Model::Link(InodeNumber inode, const LinkName& place, const Captured& captured) {
  if (IsDirectory(inode)) return EPERM;
  if (const int error = CheckNew(place); error != 0) return error;
  nodes[place.parent].names[place.name] = inode;
  const ModelNode& node = nodes.at(inode);
  if (node.content != 0 && captured.contains(node.content))
    CaptureUnder(place, node.content, node.bytes);
  return 0;
}

int Model::Unlink(const LinkName& place) {
  const InodeNumber inode = Find(place);
  if (inode == 0) return ENOENT;
  if (IsDirectory(inode)) return EISDIR;
  nodes[place.parent].names.erase(place.name);
  return 0;
}

int Model::RemoveDirectory(const LinkName& place) {
  const InodeNumber inode = Find(place);
  if (inode == 0) return ENOENT;
  if (!IsDirectory(inode)) return ENOTDIR;
  if (!nodes.at(inode).names.empty()) return ENOTEMPTY;
  LeaveDirectory(place, nodes.at(inode).history);
  nodes[place.parent].names.erase(place.name);
  return 0;
}

int Model::Rename(const LinkName& from, const LinkName& to, unsigned flags,
                  const Captured& captured) {
  const InodeNumber moved = Find(from);
  const InodeNumber target = Find(to);
  const bool exchange = (flags & RENAME_EXCHANGE) != 0;
  if (moved == 0) return ENOENT;
  if (!IsDirectory(to.parent)) return ENOTDIR;
  if (target != 0 && (flags & RENAME_NOREPLACE) != 0) return EEXIST;
  if (target == 0 && exchange) return ENOENT;
  if (target == moved) return 0;
  if (IsDirectory(moved) && IsBelow(to.parent, moved)) return EINVAL;
  if (exchange && IsDirectory(target) && IsBelow(from.parent, target)) return EINVAL;
  if (!exchange) return Replace(from, to, captured);
  Exchange(from, to, captured);
  return 0;
}

int Model::Replace(const LinkName& from, const LinkName& to, const Captured& captured) {
  const InodeNumber moved = Find(from);
  const InodeNumber target = Find(to);
  if (target != 0 && IsDirectory(target)) {
    if (!IsDirectory(moved)) return EISDIR;
    if (!nodes.at(target).names.empty()) return ENOTEMPTY;
    LeaveDirectory(to, nodes.at(target).history);
  } else if (target != 0 && IsDirectory(moved)) {
    return ENOTDIR;
  }
  if (IsDirectory(moved)) MoveDirectory(from, to, moved);
  nodes[from.parent].names.erase(from.name);
  nodes[to.parent].names[to.name] = moved;
  const ModelNode& node = nodes.at(moved);
  if (S_ISREG(node.mode) && node.content != 0 && captured.contains(node.content)) {
    ForgetTemporary(from, node.content);
    CaptureUnder(to, node.content, node.bytes);
  }
  return 0;
}

void Model::Exchange(const LinkName& from, const LinkName& to, const Captured& captured) {
  const InodeNumber moved = Find(from);
  const InodeNumber target = Find(to);
  nodes[from.parent].names[from.name] = target;
  nodes[to.parent].names[to.name] = moved;
  const auto capture = [&](InodeNumber inode, const LinkName& place) {
    const ModelNode& node = nodes.at(inode);
    if (S_ISREG(node.mode) && node.content != 0 && captured.contains(node.content))
      CaptureUnder(place, node.content, node.bytes);
  };
  capture(moved, to);
  capture(target, from);
}

bool Model::NamedElsewhere(InodeNumber inode) const {
  const ContentId content = nodes.at(inode).content;
  std::set<HistoryKey> own;
  for (const LinkName& place : NamesOf(inode))
    own.insert({nodes.at(place.parent).history, place.name});
  for (const auto& [key, name] : history)
    for (const auto& [number, version] : name.versions)
      if (version.content == content && (number != name.last || !own.contains(key))) return true;
  return false;
}

void Model::Capture(InodeNumber inode) { CaptureAs(inode, nodes.at(inode).content); }

void Model::CaptureAs(InodeNumber inode, ContentId content) {
  const BytesPointer bytes = nodes.at(inode).bytes;
  for (const LinkName& place : NamesOf(inode)) CaptureUnder(place, content, bytes);
}

void Model::CaptureUnder(const LinkName& place, ContentId content, const BytesPointer& bytes) {
  ModelName& name = history[{nodes.at(place.parent).history, place.name}];
  const auto newest = name.versions.find(name.last);
  if (newest == name.versions.end() || newest->second.content != content) ++name.last;
  name.versions[name.last] = {content, bytes};
}

void Model::ForgetTemporary(const LinkName& place, ContentId content) {
  const auto name = history.find({nodes.at(place.parent).history, place.name});
  if (name == history.end() || name->second.last != 1) return;
  const auto only = name->second.versions.find(1);
  if (only == name->second.versions.end() || only->second.content != content) return;
  name->second.versions.clear();
  name->second.last = 0;
  if (name->second.empty()) history.erase(name);
}

void Model::LeaveDirectory(const LinkName& place, HistoryId child) {
  const auto first = history.lower_bound({child, ""});
  if (first == history.end() || first->first.first != child) return;
  history[{nodes.at(place.parent).history, place.name}].child = child;
}

void Model::DropUnnamed() {
  std::set<InodeNumber> named{kRootNode};
  for (const auto& [inode, node] : nodes)
    for (const auto& [name, child] : node.names) named.insert(child);
  std::erase_if(nodes, [&](const auto& entry) { return !named.contains(entry.first); });
}

}  // namespace varve::testing
