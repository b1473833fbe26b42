#include "tests/support/store_session.h"

#include <fcntl.h>
#include <fmt/format.h>

#include <cstdio>
#include <cstdlib>

#include "store/base/checksum.h"

namespace varve::testing {
namespace {

constexpr size_t kReadBytes = 1u << 20;

[[noreturn]] void Die(const std::string& what, const Status& status) {
  std::fprintf(stderr, "store session: %s: %s\n", what.c_str(), status.ToString().c_str());
  std::abort();
}
void Must(const std::string& what, const Status& status) {
  if (!status.ok()) Die(what, status);
}
template <typename T>
T Must(const std::string& what, Result<T> result) {
  if (!result.ok()) Die(what, result.status());
  return *std::move(result);
}

Caller Self() {
  Caller caller;
  caller.uid = geteuid();
  caller.gid = getegid();
  caller.groups = [] { return std::vector<gid_t>(); };
  return caller;
}

std::string Digest(const Result<std::string>& bytes) {
  if (!bytes.ok()) return std::string(CodeName(bytes.status().code()));
  return fmt::format("{}:{:016x}", bytes->size(), Checksum64(AsBytes(*bytes)));
}

}  // namespace

class StoreSession::NoKernel final : public KernelChannel {
 public:
  int32_t RegisterBacking(int) override { return 0; }
  void UnregisterBacking(int32_t) override {}
  void InvalidateNode(NodeId) override {}
  void InvalidateName(NodeId, std::string) override {}
};

StoreSession::StoreSession(const std::string& store_path, uint64_t hot_bytes_max)
    : kernel_(std::make_unique<NoKernel>()) {
  VolumeOptions options;
  options.hot_bytes_max = hot_bytes_max;
  options.mount_point = "/test";
  volume_ = Must("open " + store_path, OpenVolume(store_path, options, *kernel_));
}

StoreSession::~StoreSession() = default;

void StoreSession::Drain() { Must("drain", volume_->Drain(-1)); }

Result<NodeId> StoreSession::Find(const std::string& path) {
  NodeId node = kRootNode;
  for (size_t at = 0; at < path.size();) {
    const size_t end = std::min(path.find('/', at), path.size());
    const std::string name = path.substr(at, end - at);
    at = end + 1;
    if (name.empty()) continue;
    ASSIGN_OR_RETURN(const Entry entry, volume_->Nodes(node).Lookup(Self(), node, name));
    if (entry.node == 0) return Status::Errno(ENOENT, path);
    node = entry.node;
  }
  return node;
}

StoreSession::Parent StoreSession::ParentOf(const std::string& path) {
  const size_t slash = path.rfind('/');
  const std::string directory = slash == std::string::npos ? "" : path.substr(0, slash);
  return {Must(directory, Find(directory)), path.substr(slash + 1)};
}

void StoreSession::MakeDirectory(const std::string& path) {
  const Parent parent = ParentOf(path);
  Must(path, volume_->Nodes(parent.node).MakeDirectory(Self(), parent.node, parent.name, 0755));
}

void StoreSession::MakeSymlink(const std::string& path, const std::string& target) {
  const Parent parent = ParentOf(path);
  Must(path, volume_->Nodes(parent.node).MakeSymlink(Self(), parent.node, parent.name, target));
}

void StoreSession::MakeLink(const std::string& path, const std::string& new_path) {
  const NodeId node = Must(path, Find(path));
  const Parent parent = ParentOf(new_path);
  Must(new_path, volume_->Nodes(node).MakeLink(Self(), node, parent.node, parent.name));
}

void StoreSession::Remove(const std::string& path) {
  const Parent parent = ParentOf(path);
  Must(path, volume_->Nodes(parent.node).RemoveFile(Self(), parent.node, parent.name));
}

void StoreSession::Rename(const std::string& from, const std::string& to) {
  const Parent parent = ParentOf(from);
  const Parent target = ParentOf(to);
  Must(from, volume_->Nodes(parent.node)
                 .Rename(Self(), parent.node, parent.name, {target.node, target.name, 0}));
}

void StoreSession::SetXattr(const std::string& path, const std::string& name,
                            const std::string& value) {
  const NodeId node = Must(path, Find(path));
  Must(path, volume_->Nodes(node).SetXattr(Self(), node, name, AsBytes(value), 0));
}

void StoreSession::Write(const std::string& path, const std::string& bytes) {
  const Parent parent = ParentOf(path);
  NodeOps& nodes = volume_->Nodes(parent.node);
  NodeId node = 0;
  HandleId handle = 0;
  if (const Result<NodeId> present = Find(path); present.ok()) {
    node = *present;
    handle = Must(path, nodes.Open(Self(), node, O_WRONLY | O_TRUNC)).handle;
  } else {
    const Created created =
        Must(path, nodes.Create(Self(), parent.node, parent.name, 0644, O_WRONLY | O_CREAT));
    node = created.entry.node;
    handle = created.opened.handle;
  }
  Must(path, nodes.Write(node, handle, 0, AsBytes(bytes), false));
  Must(path, nodes.Flush(node, handle));
  nodes.Release(node, handle);
}

void StoreSession::WriteAt(const std::string& path, uint64_t offset, const std::string& bytes,
                           bool close) {
  const NodeId node = Must(path, Find(path));
  NodeOps& nodes = volume_->Nodes(node);
  const Opened opened = Must(path, nodes.Open(Self(), node, O_RDWR));
  Must(path, nodes.Write(node, opened.handle, offset, AsBytes(bytes), false));
  if (!close) return;
  Must(path, nodes.Flush(node, opened.handle));
  nodes.Release(node, opened.handle);
}

Result<struct stat> StoreSession::Stat(const std::string& path) {
  ASSIGN_OR_RETURN(const NodeId node, Find(path));
  ASSIGN_OR_RETURN(const Attributes attributes,
                   volume_->Nodes(node).GetAttributes(node, std::nullopt));
  return attributes.stat;
}

Result<std::string> StoreSession::Read(const std::string& path) {
  ASSIGN_OR_RETURN(const struct stat stat, Stat(path));
  return ReadAt(path, 0, static_cast<size_t>(stat.st_size));
}

Result<std::string> StoreSession::ReadAt(const std::string& path, uint64_t offset, size_t size) {
  ASSIGN_OR_RETURN(const NodeId node, Find(path));
  NodeOps& nodes = volume_->Nodes(node);
  ASSIGN_OR_RETURN(const Opened opened, nodes.Open(Self(), node, O_RDONLY));
  std::string bytes;
  Status status;
  while (status.ok() && bytes.size() < size) {
    Result<ReadReply> reply = nodes.Read(node, opened.handle, offset + bytes.size(),
                                         std::min(kReadBytes, size - bytes.size()));
    status = reply.status();
    if (!reply.ok() || reply->size == 0) break;
    if (reply->descriptor >= 0) {
      std::string part(reply->size, '\0');
      const ssize_t got =
          pread(reply->descriptor, part.data(), part.size(), static_cast<off_t>(reply->offset));
      if (got <= 0) break;
      bytes.append(part, 0, static_cast<size_t>(got));
    }
    for (const ByteView part : reply->parts) bytes.append(AsText(part));
  }
  nodes.Release(node, opened.handle);
  RETURN_IF_ERROR(status);
  return bytes;
}

Result<std::string> StoreSession::GetXattr(const std::string& path, const std::string& name) {
  ASSIGN_OR_RETURN(const NodeId node, Find(path));
  return volume_->Nodes(node).GetXattr(Self(), node, name);
}

Result<std::vector<std::string>> StoreSession::List(const std::string& path) {
  ASSIGN_OR_RETURN(const NodeId node, Find(path));
  NodeOps& nodes = volume_->Nodes(node);
  ASSIGN_OR_RETURN(const Opened opened, nodes.OpenDirectory(Self(), node));
  std::vector<std::string> names;
  const Status listed =
      nodes.ReadDirectory(Self(), node, opened.handle, 0, false, [&](const ListedName& entry) {
        if (entry.name != "." && entry.name != "..") names.emplace_back(entry.name);
        return true;
      });
  nodes.ReleaseDirectory(node, opened.handle);
  RETURN_IF_ERROR(listed);
  return names;
}

std::map<std::string, std::string> StoreSession::Describe(const std::string& path) {
  std::map<std::string, std::string> all;
  DescribeInto(path, &all);
  return all;
}

void StoreSession::DescribeInto(const std::string& path, std::map<std::string, std::string>* all) {
  const struct stat stat = Must(path, Stat(path));
  (*all)[path] = DescribeNode(path, stat);
  if (!S_ISDIR(stat.st_mode)) return;
  for (const std::string& name : Must(path, List(path)))
    DescribeInto(path.empty() ? name : path + "/" + name, all);
  const std::string versions = path + "/.varve/versions";
  for (const std::string& name : Must(versions, List(versions))) {
    const std::string directory = versions + "/" + name;
    for (const std::string& number : Must(directory, List(directory))) {
      if (number != "latest")
        (*all)[directory + "/" + number] = Digest(Read(directory + "/" + number));
    }
  }
}

std::string StoreSession::DescribeNode(const std::string& path, const struct stat& stat) {
  const NodeId node = Must(path, Find(path));
  NodeOps& nodes = volume_->Nodes(node);
  std::string text =
      fmt::format("{:o} {}:{} {} {} {}.{:09}", stat.st_mode, stat.st_uid, stat.st_gid,
                  stat.st_nlink, stat.st_size, stat.st_mtim.tv_sec, stat.st_mtim.tv_nsec);
  if (S_ISREG(stat.st_mode)) text += " " + Digest(Read(path));
  if (S_ISLNK(stat.st_mode)) text += " -> " + Must(path, nodes.ReadLink(node));
  const std::string names = Must(path, nodes.ListXattr(Self(), node));
  for (size_t at = 0; at < names.size(); at = names.find('\0', at) + 1) {
    const std::string name = names.c_str() + at;
    text += " " + name + "=" + Must(path, GetXattr(path, name));
  }
  return text;
}

}  // namespace varve::testing
