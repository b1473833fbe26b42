#include "fs/core/virtual_history.h"

#include "fs/core/directory_capture.h"
#include "fs/core/directory_history.h"
#include "fs/core/frozen_nodes.h"

namespace varve {
namespace {

constexpr std::string_view kLatest = "latest";

Status NotFoundAsErrno(const Status& status) {
  return IsGone(status) ? Status::Errno(ENOENT) : status;
}

// `history/v7`, and what is pinned: where the frozen tree begins.
class FrozenDoor final : public VirtualNode {
 public:
  FrozenDoor(const VirtualContext& context, FrozenRoot root)
      : context_(context), root_(std::move(root)) {}

  Result<Attributes> GetAttributes() override { return context_.frozen->RootAttributes(root_); }
  Result<std::optional<Entry>> Enter() override {
    ASSIGN_OR_RETURN(Entry entry, context_.frozen->Enter(root_));
    return std::optional<Entry>(entry);
  }

 private:
  const VirtualContext& context_;
  const FrozenRoot root_;
};

// `history/latest`.
class LatestLink final : public VirtualDirectory {
 public:
  using VirtualDirectory::VirtualDirectory;

  Result<Attributes> GetAttributes() override {
    ASSIGN_OR_RETURN(const InodeRecord directory, Directory());
    ASSIGN_OR_RETURN(const NumberedDirectoryVersion latest, Latest());
    Attributes attributes =
        SymlinkAttributes(directory, DirectoryVersionName(latest.number).size());
    struct stat& stat = attributes.stat;
    stat.st_atim = stat.st_mtim = stat.st_ctim = latest.record.capture_time;
    return attributes;
  }
  Result<std::string> ReadLink() override {
    ASSIGN_OR_RETURN(const NumberedDirectoryVersion latest, Latest());
    return DirectoryVersionName(latest.number);
  }

 private:
  Result<NumberedDirectoryVersion> Latest() const {
    ASSIGN_OR_RETURN(const InodeRecord directory, Directory());
    Result<NumberedDirectoryVersion> latest = DirectoryHistory(context_.catalog).Latest(directory);
    if (!latest.ok()) return NotFoundAsErrno(latest.status());
    return latest;
  }
};

class HistoryDirectory final : public VirtualDirectory {
 public:
  using VirtualDirectory::VirtualDirectory;

  int64_t name_valid_ns() const override { return kSecondNs; }

  // Who may write to the directory may make and remove pins.
  Result<Attributes> GetAttributes() override {
    ASSIGN_OR_RETURN(const InodeRecord directory, Directory());
    ASSIGN_OR_RETURN(Attributes attributes, VirtualDirectory::GetAttributes());
    attributes.stat.st_mode = S_IFDIR | (directory.mode & 0777);
    return attributes;
  }

  Result<std::shared_ptr<VirtualNode>> Lookup(std::string_view name) override {
    if (name == kLatest)
      return std::shared_ptr<VirtualNode>(std::make_shared<LatestLink>(context_, directory_));
    ASSIGN_OR_RETURN(const InodeRecord directory, Directory());
    const DirectoryHistory history(context_.catalog);
    VersionNumber number = 0;
    if (const auto parsed = ParseDirectoryVersionName(name)) {
      number = *parsed;
    } else {
      const Result<VersionNumber> pinned = history.Pinned(directory, name);
      if (!pinned.ok()) return NotFoundAsErrno(pinned.status());
      number = *pinned;
    }
    const Result<DirectoryVersionRecord> version = history.Find(directory, number);
    if (!version.ok()) return NotFoundAsErrno(version.status());
    return std::shared_ptr<VirtualNode>(std::make_shared<FrozenDoor>(
        context_, FrozenRoot{directory_, std::string(name), number, *version}));
  }

  Result<std::vector<VirtualName>> List() override {
    ASSIGN_OR_RETURN(const InodeRecord directory, Directory());
    const DirectoryHistory history(context_.catalog);
    ASSIGN_OR_RETURN(const std::vector<VersionNumber> numbers, history.Numbers(directory));
    ASSIGN_OR_RETURN(const std::vector<DirectoryPin> pins, history.Pins(directory));
    std::vector<VirtualName> names;
    names.reserve(numbers.size() + pins.size() + 1);
    for (const VersionNumber number : numbers)
      names.push_back({DirectoryVersionName(number), S_IFDIR});
    for (const DirectoryPin& pin : pins) names.push_back({pin.name, S_IFDIR});
    if (!numbers.empty()) names.push_back({std::string(kLatest), S_IFLNK});
    return names;
  }

  Status MakeDirectory(std::string_view name) override {
    return context_.capture->Pin(directory_, name);
  }
  Status RemoveDirectory(std::string_view name) override {
    if (ParseDirectoryVersionName(name)) return Status::Errno(EPERM);
    return context_.capture->Unpin(directory_, name);
  }
};

}  // namespace

std::shared_ptr<VirtualNode> MakeHistoryDirectory(const VirtualContext& context,
                                                  InodeNumber directory) {
  return std::make_shared<HistoryDirectory>(context, directory);
}

}  // namespace varve
