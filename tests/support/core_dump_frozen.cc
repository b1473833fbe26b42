#include "tests/support/core_dump_frozen.h"

#include <fcntl.h>

namespace varve::testing {
namespace {

constexpr size_t kReadMax = 4 << 20;
const Caller kRoot{};

class FrozenDumper {
 public:
  FrozenDumper(StoreParts& parts, const FrozenRoot& root, std::map<InodeNumber, DumpedNode>* nodes)
      : parts_(parts),
        frozen_(parts.frozen()),
        past_(parts.tree(), root.version.moment),
        nodes_(*nodes) {}

  std::vector<std::string> Run(const FrozenRoot& root) {
    const Result<Entry> entry = frozen_.Enter(root);
    if (!entry.ok()) {
      Fail("", entry.status());
    } else {
      Directory(root.version.inode, *entry, "");
      frozen_.Forget(entry->node, 1);
    }
    return std::move(failures_);
  }

 private:
  void Fail(const std::string& path, const Status& status) {
    failures_.push_back(path + ": " + status.ToString());
  }
  void Directory(InodeNumber inode, const Entry& entry, const std::string& path);
  void Node(InodeNumber inode, const Entry& entry, const std::string& path);
  Status Attributes(NodeId id, DumpedNode* node);
  Status Content(NodeId id, DumpedNode* node);

  StoreParts& parts_;
  FrozenNodes& frozen_;
  const PastTree past_;  // tells which inode a frozen node was
  std::map<InodeNumber, DumpedNode>& nodes_;
  std::vector<std::string> failures_;
};

void FrozenDumper::Directory(InodeNumber inode, const Entry& entry, const std::string& path) {
  Node(inode, entry, path);
  const Result<Opened> opened = frozen_.OpenDirectory(kRoot, entry.node);
  if (!opened.ok()) return Fail(path, opened.status());
  std::vector<std::string> names;
  const Status listed = frozen_.ReadDirectory(kRoot, entry.node, opened->handle, 0, false,
                                              [&](const ListedName& name) {
                                                if (name.name != "." && name.name != "..")
                                                  names.emplace_back(name.name);
                                                return true;
                                              });
  if (!listed.ok()) return Fail(path, listed);
  for (const std::string& name : names) {
    const std::string child_path = path + "/" + name;
    const Result<Entry> child = frozen_.Lookup(kRoot, entry.node, name);
    const Result<std::optional<NamedEntry>> was = past_.Find(inode, name);
    if (!child.ok() || !was.ok() || !*was) {
      Fail(child_path, child.ok() ? Status(Code::kNotFound, "listed only") : child.status());
      continue;
    }
    const InodeNumber number = (*was)->record.inode;
    nodes_[inode].names[name] = number;
    if (S_ISDIR(child->attributes.stat.st_mode)) {
      Directory(number, *child, child_path);
    } else if (!nodes_.contains(number)) {
      Node(number, *child, child_path);
    }
    frozen_.Forget(child->node, 1);
  }
}

void FrozenDumper::Node(InodeNumber inode, const Entry& entry, const std::string& path) {
  DumpedNode node;
  node.stat = entry.attributes.stat;
  Status status = Attributes(entry.node, &node);
  if (status.ok() && S_ISREG(node.stat.st_mode)) {
    const Result<InodeRecord> record = past_.Inode(inode);
    status = record.status();
    if (record.ok()) node.content = record->content;
    if (status.ok()) status = Content(entry.node, &node);
  }
  if (status.ok() && S_ISLNK(node.stat.st_mode)) {
    Result<std::string> target = frozen_.ReadLink(entry.node);
    status = target.status();
    if (target.ok()) node.target = *target;
  }
  if (!status.ok()) Fail(path, status);
  nodes_[inode] = std::move(node);
}

Status FrozenDumper::Attributes(NodeId id, DumpedNode* node) {
  ASSIGN_OR_RETURN(const std::string listed, frozen_.ListXattr(kRoot, id));
  for (size_t at = 0; at < listed.size(); at = listed.find('\0', at) + 1) {
    const std::string name = listed.c_str() + at;
    ASSIGN_OR_RETURN(node->xattrs[name], frozen_.GetXattr(kRoot, id, name));
  }
  return Status();
}

Status FrozenDumper::Content(NodeId id, DumpedNode* node) {
  ASSIGN_OR_RETURN(const Opened opened, frozen_.Open(kRoot, id, O_RDONLY));
  Result<std::string> bytes = ReadAll(frozen_, id, opened.handle, kReadMax);
  frozen_.Release(id, opened.handle);
  RETURN_IF_ERROR(bytes.status());
  node->bytes = std::move(bytes).value();
  if (node->content == 0) return Status();
  ASSIGN_OR_RETURN(const ContentRecord content, parts_.tree().Content(node->content));
  node->torn = content.torn;
  return Status();
}

}  // namespace

std::vector<std::string> DumpFrozen(StoreParts& parts, const FrozenRoot& root,
                                    std::map<InodeNumber, DumpedNode>* nodes) {
  return FrozenDumper(parts, root, nodes).Run(root);
}

}  // namespace varve::testing
