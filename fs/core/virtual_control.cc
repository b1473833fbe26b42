#include "fs/core/virtual_control.h"

#include <algorithm>
#include <iterator>

#include "fs/core/newest_checkpoint.h"
#include "fs/core/virtual_history.h"
#include "fs/core/virtual_versions.h"

namespace varve {
namespace {

// `.varve/latest`. Looked up, it is not there while there is no checkpoint.
class LatestCheckpointLink final : public VirtualDirectory {
 public:
  using VirtualDirectory::VirtualDirectory;

  Result<Attributes> GetAttributes() override {
    ASSIGN_OR_RETURN(const InodeRecord directory, Directory());
    ASSIGN_OR_RETURN(const std::string target, ReadLink());
    return SymlinkAttributes(directory, target.size());
  }

  Result<std::string> ReadLink() override {
    ASSIGN_OR_RETURN(const std::optional<std::string> path, NewestCheckpoint(context_, directory_));
    if (!path) return Status::Errno(ENOENT);
    return "../" + *path;
  }
};

// An open text that was made when it was opened.
class OpenText final : public VirtualFile {
 public:
  explicit OpenText(std::string text)
      : text_(std::make_shared<const std::string>(std::move(text))) {}

  Result<ReadReply> Read(uint64_t offset, size_t size) override {
    ReadReply reply;
    if (offset >= text_->size()) return reply;
    reply.parts = {AsBytes(std::string_view(*text_).substr(offset, size))};
    reply.size = reply.parts[0].size();
    reply.keep_alive = text_;
    return reply;
  }
  Result<uint64_t> Seek(uint64_t offset, int whence) override {
    if (offset >= text_->size()) return Status::Errno(ENXIO);
    return whence == SEEK_HOLE ? text_->size() : offset;
  }

 private:
  const std::shared_ptr<const std::string> text_;
};

// `.varve/status`. Its length is known only when it is read, as in /proc.
class StatusFile final : public VirtualDirectory {
 public:
  using VirtualDirectory::VirtualDirectory;

  Result<Attributes> GetAttributes() override {
    ASSIGN_OR_RETURN(Attributes attributes, VirtualDirectory::GetAttributes());
    attributes.stat.st_mode = S_IFREG | 0444;
    attributes.stat.st_nlink = 1;
    attributes.valid_ns = 0;
    return attributes;
  }
  Result<OpenedVirtual> Open(const Caller&) override {
    OpenedVirtual opened;
    opened.file = std::make_unique<OpenText>(context_.status_json());
    opened.direct_io = true;
    return opened;
  }
};

template <typename Node>
std::shared_ptr<VirtualNode> Make(const VirtualContext& context, InodeNumber directory) {
  return std::make_shared<Node>(context, directory);
}

struct ControlEntry {
  std::string_view name;
  mode_t type;
  std::shared_ptr<VirtualNode> (*make)(const VirtualContext&, InodeNumber directory);
};

// What is in `.varve`, in the order it is listed.
constexpr ControlEntry kEntries[] = {
    {"history", S_IFDIR, MakeHistoryDirectory},
    {"latest", S_IFLNK, Make<LatestCheckpointLink>},
    {"status", S_IFREG, Make<StatusFile>},
    {"versions", S_IFDIR, MakeVersionsDirectory},
};

class ControlDirectory final : public VirtualDirectory {
 public:
  using VirtualDirectory::VirtualDirectory;

  int64_t name_valid_ns() const override { return kSecondNs; }

  Result<std::shared_ptr<VirtualNode>> Lookup(std::string_view name) override {
    const auto* entry = std::find_if(std::begin(kEntries), std::end(kEntries),
                                     [&](const ControlEntry& e) { return e.name == name; });
    if (entry == std::end(kEntries)) return Status::Errno(ENOENT);
    return entry->make(context_, directory_);
  }

  Result<std::vector<VirtualName>> List() override {
    std::vector<VirtualName> names;
    for (const ControlEntry& entry : kEntries) {
      const Result<Attributes> attributes = entry.make(context_, directory_)->GetAttributes();
      if (attributes.ok()) names.push_back({std::string(entry.name), entry.type});
    }
    return names;
  }
};

}  // namespace

std::shared_ptr<VirtualNode> MakeControlDirectory(const VirtualContext& context,
                                                  InodeNumber directory) {
  return std::make_shared<ControlDirectory>(context, directory);
}

}  // namespace varve
