#include "tests/support/core_dump.h"

#include <fcntl.h>

#include "fs/core/directory_history.h"
#include "fs/core/history.h"
#include "tests/support/core_dump_frozen.h"

namespace varve::testing {
namespace {

constexpr size_t kReadMax = 4 << 20;
const Caller kRoot{};

class Dumper {
 public:
  explicit Dumper(StoreParts& parts) : parts_(parts), live_(parts.live()) {}

  Dump Run() {
    DumpDirectory(kRootNode, "");
    DumpHistory();
    return std::move(dump_);
  }

 private:
  void Fail(const std::string& path, const Status& status) {
    dump_.failures.push_back((path.empty() ? "/" : path) + ": " + status.ToString());
  }
  void DumpDirectory(InodeNumber inode, const std::string& path);
  void DumpNode(InodeNumber inode, const std::string& path);
  Status Attributes(InodeNumber inode, DumpedNode* node);
  Status Content(InodeNumber inode, DumpedNode* node);
  void DumpHistory();
  void DumpVersion(std::string_view row_key, std::string_view row);
  void DumpCaptures(const Model::HistoryKey& key, HistoryId list, DumpedName* name);

  StoreParts& parts_;
  LiveNodes& live_;
  Dump dump_;
};

void Dumper::DumpDirectory(InodeNumber inode, const std::string& path) {
  DumpNode(inode, path);
  const Result<Opened> opened = live_.OpenDirectory(kRoot, inode);
  if (!opened.ok()) return Fail(path, opened.status());
  std::vector<std::string> names;
  const Status listed =
      live_.ReadDirectory(kRoot, inode, opened->handle, 0, false, [&](const ListedName& name) {
        if (name.name != "." && name.name != "..") names.emplace_back(name.name);
        return true;
      });
  live_.ReleaseDirectory(inode, opened->handle);
  if (!listed.ok()) return Fail(path, listed);
  for (const std::string& name : names) {
    const std::string child_path = path + "/" + name;
    const Result<Entry> entry = live_.Lookup(kRoot, inode, name);
    if (!entry.ok() || entry->node == 0) {
      Fail(child_path, entry.ok() ? Status(Code::kNotFound, "listed only") : entry.status());
      continue;
    }
    dump_.nodes[inode].names[name] = entry->node;
    if (S_ISDIR(entry->attributes.stat.st_mode)) {
      DumpDirectory(entry->node, child_path);
    } else if (!dump_.nodes.contains(entry->node)) {
      DumpNode(entry->node, child_path);
    }
    live_.Forget(entry->node, 1);
  }
}

void Dumper::DumpNode(InodeNumber inode, const std::string& path) {
  DumpedNode node;
  Status status = Attributes(inode, &node);
  if (status.ok() && S_ISREG(node.stat.st_mode)) status = Content(inode, &node);
  if (status.ok() && S_ISLNK(node.stat.st_mode)) {
    Result<std::string> target = live_.ReadLink(inode);
    status = target.status();
    if (target.ok()) node.target = *target;
  }
  if (!status.ok()) Fail(path, status);
  dump_.nodes[inode] = std::move(node);
}

Status Dumper::Attributes(InodeNumber inode, DumpedNode* node) {
  ASSIGN_OR_RETURN(const varve::Attributes attributes, live_.GetAttributes(inode, std::nullopt));
  node->stat = attributes.stat;
  ASSIGN_OR_RETURN(const InodeRecord record, parts_.tree().Inode(inode));
  node->history = record.history;
  node->content = record.content;
  ASSIGN_OR_RETURN(const std::string listed, live_.ListXattr(kRoot, inode));
  for (size_t at = 0; at < listed.size(); at = listed.find('\0', at) + 1) {
    const std::string name = listed.c_str() + at;
    ASSIGN_OR_RETURN(node->xattrs[name], live_.GetXattr(kRoot, inode, name));
  }
  return Status();
}

Status Dumper::Content(InodeNumber inode, DumpedNode* node) {
  ASSIGN_OR_RETURN(const Opened opened, live_.Open(kRoot, inode, O_RDONLY));
  Result<std::string> bytes = ReadAll(live_, inode, opened.handle, kReadMax);
  live_.Release(inode, opened.handle);
  RETURN_IF_ERROR(bytes.status());
  node->bytes = std::move(bytes).value();
  const Result<std::string> complete = live_.GetXattr(kRoot, inode, "user.varve.complete");
  RETURN_IF_ERROR(complete.status());
  node->complete = *complete == "1";
  if (node->content == 0) return Status();
  ASSIGN_OR_RETURN(const ContentRecord content, parts_.tree().Content(node->content));
  node->torn = content.torn;
  return Status();
}

void Dumper::DumpHistory() {
  std::vector<std::pair<std::string, std::string>> rows;
  for (const char table : {key::kName, key::kVersion}) {
    const key::Range range = key::Table(table);
    const Status scanned =
        parts_.catalog().Scan(range.begin, range.end, [&](auto row_key, auto row) {
          rows.emplace_back(row_key, row);
          return true;
        });
    if (!scanned.ok()) Fail("history", scanned);
  }
  for (const auto& [row_key, row] : rows) {
    if (row_key[0] == key::kVersion) {
      DumpVersion(row_key, row);
      continue;
    }
    const Result<NameRecord> counters = NameRecord::Decode(row);
    if (!counters.ok()) return Fail("history", counters.status());
    const Model::HistoryKey name{key::Id(row_key), std::string(key::NameOf(row_key))};
    dump_.history[name].counters = *counters;
    if (counters->directory_versions != 0)
      DumpCaptures(name, counters->directory_versions, &dump_.history[name]);
  }
}

void Dumper::DumpCaptures(const Model::HistoryKey& key, HistoryId list, DumpedName* name) {
  const std::string where =
      "history of directory " + std::to_string(key.first) + "/" + key.second + " ";
  const auto scan = [&](const key::Range& range, const auto& see) {
    const Status scanned = parts_.catalog().Scan(range.begin, range.end, see);
    if (!scanned.ok()) Fail(where, scanned);
  };
  scan(key::AllDirectoryVersions(list), [&](std::string_view row_key, std::string_view row) {
    const Result<DirectoryVersionRecord> record = DirectoryVersionRecord::Decode(row);
    if (record.ok()) {
      name->directories[key::Number(row_key)] = {*record, {}};
    } else {
      Fail(where, record.status());
    }
    return true;
  });
  scan(key::AllPins(list), [&](std::string_view row_key, std::string_view row) {
    const Result<VersionNumber> number = DecodePin(row);
    if (number.ok()) {
      name->pins[std::string(key::PinName(row_key))] = *number;
    } else {
      Fail(where, number.status());
    }
    return true;
  });
  for (auto& [number, capture] : name->directories) {
    const std::string version = DirectoryVersionName(number);
    for (const std::string& failure :
         DumpFrozen(parts_, FrozenRoot{capture.record.inode, version, number, capture.record},
                    &capture.nodes))
      dump_.failures.push_back(where + version + failure);
  }
}

void Dumper::DumpVersion(std::string_view row_key, std::string_view row) {
  // A version's key is that of its name, a zero byte and the number.
  const VersionNumber number = key::Number(row_key);
  std::string name_key(row_key.substr(0, row_key.size() - sizeof(number) - 1));
  const std::string name(name_key.substr(1 + sizeof(HistoryId)));
  const Model::HistoryKey history{key::Id(row_key), name};
  const std::string where =
      "history " + std::to_string(history.first) + "/" + name + "/" + std::to_string(number);
  DumpedVersion version;
  const Status status = [&]() -> Status {
    ASSIGN_OR_RETURN(version.record, VersionRecord::Decode(row));
    ASSIGN_OR_RETURN(version.content, parts_.tree().Content(version.record.content));
    ASSIGN_OR_RETURN(version.bytes, ReadContent(parts_, version.record.content));
    return Status();
  }();
  if (!status.ok()) Fail(where, status);
  dump_.history[history].versions[number] = std::move(version);
}

}  // namespace

Dump MakeDump(StoreParts& parts) { return Dumper(parts).Run(); }

Result<std::string> ReadAll(NodeOps& nodes, NodeId node, HandleId handle, size_t size_max) {
  ASSIGN_OR_RETURN(const ReadReply reply, nodes.Read(node, handle, 0, size_max));
  std::string bytes;
  for (const ByteView part : reply.parts) bytes.append(AsText(part));
  return bytes;
}

Result<std::string> ReadContent(StoreParts& parts, ContentId content) {
  std::string bytes;
  ASSIGN_OR_RETURN(const ContentRecord record, parts.tree().Content(content));
  if (record.size_bytes == 0) return bytes;  // its size now, also when it went on
  ASSIGN_OR_RETURN(const std::shared_ptr<ContentReader> reader,
                   parts.files().OpenContent(content, record.size_bytes, "a content"));
  ASSIGN_OR_RETURN(const ReadReply reply, reader->Read(0, kReadMax));
  for (const ByteView part : reply.parts) bytes.append(AsText(part));
  return bytes;
}

Result<std::string> ReadVersion(StoreParts& parts, const LinkName& place, VersionNumber number) {
  std::vector<NodeId> known;
  const auto forget = [&] {
    for (const NodeId node : known) parts.Nodes(node).Forget(node, 1);
  };
  NodeId node = place.parent;
  const std::string path[] = {".varve", "versions", place.name, VersionName(number)};
  for (const std::string& name : path) {
    const Result<Entry> entry = parts.Nodes(node).Lookup(kRoot, node, name);
    if (!entry.ok() || entry->node == 0) {
      forget();
      return entry.ok() ? Status::Errno(ENOENT, name) : entry.status();
    }
    node = entry->node;
    known.push_back(node);
  }
  NodeOps& nodes = parts.Nodes(node);
  Result<std::string> bytes = [&]() -> Result<std::string> {
    ASSIGN_OR_RETURN(const Opened opened, nodes.Open(kRoot, node, O_RDONLY));
    Result<std::string> read = ReadAll(nodes, node, opened.handle, kReadMax);
    nodes.Release(node, opened.handle);
    return read;
  }();
  forget();
  return bytes;
}

}  // namespace varve::testing
