#include "fs/core/virtual_versions.h"

#include <unistd.h>

#include <array>
#include <atomic>
#include <cstdio>

#include "fs/core/access.h"
#include "fs/core/content_verdict.h"
#include "fs/core/status_attributes.h"

namespace varve {
namespace {

constexpr std::string_view kLatest = "latest";

Status NotFoundAsErrno(const Status& status) {
  return IsGone(status) ? Status::Errno(ENOENT) : status;
}

// Which version: enough to find it, and to notice that its number was given again,
// which happens to the only version of a temporary name.
struct VersionPlace {
  InodeNumber directory = 0;
  HistoryId history = 0;
  std::string name;
  VersionNumber number = 0;
  ContentId content = 0;
};

// What stat(2) of a version does not show, because its mode has no write permission
// and its times are those of the capture: what `varve restore` gives back.
std::optional<std::string> CaptureAttribute(std::string_view name, const VersionRecord& version) {
  std::array<char, 48> text{};
  if (name == "user.varve.mode") {
    std::snprintf(text.data(), text.size(), "%04o", version.mode & 07777);
    return text.data();
  }
  if (name == "user.varve.mtime") {
    std::snprintf(text.data(), text.size(), "%lld.%09ld",
                  static_cast<long long>(version.modify_time.tv_sec), version.modify_time.tv_nsec);
    return text.data();
  }
  return std::nullopt;
}

// An open version. No reader: it is empty.
class OpenVersion final : public VirtualFile {
 public:
  explicit OpenVersion(std::shared_ptr<ContentReader> reader) : reader_(std::move(reader)) {}

  Result<ReadReply> Read(uint64_t offset, size_t size) override {
    if (!reader_) return ReadReply();
    return reader_->Read(offset, size);
  }
  Result<uint64_t> Seek(uint64_t offset, int whence) override {
    if (!reader_) return Status::Errno(ENXIO);
    return reader_->Seek(offset, whence);
  }

 private:
  const std::shared_ptr<ContentReader> reader_;
};

// One version file. It re-reads its record, because a version that is not stored
// yet grows when its file is opened again for writing in place.
class VersionFile final : public VirtualNode {
 public:
  VersionFile(const VirtualContext& context, VersionPlace place)
      : context_(context), place_(std::move(place)) {}

  uint64_t generation() const override { return place_.content; }
  int64_t name_valid_ns() const override { return kSecondNs; }

  Result<Attributes> GetAttributes() override {
    ASSIGN_OR_RETURN(const State state, Load());
    Attributes attributes;
    struct stat& stat = attributes.stat;
    stat.st_mode = S_IFREG | (state.version.mode & 0555);
    stat.st_nlink = 1;
    stat.st_uid = state.version.uid;
    stat.st_gid = state.version.gid;
    stat.st_size = static_cast<off_t>(state.version.size_bytes);
    stat.st_blksize = 4096;
    stat.st_blocks = static_cast<blkcnt_t>((state.version.size_bytes + 511) / 512);
    stat.st_atim = stat.st_mtim = stat.st_ctim = state.version.capture_time;
    attributes.valid_ns = state.content.stored ? kImmutableValidNs : 0;
    return attributes;
  }

  Result<OpenedVirtual> Open(const Caller& caller) override {
    ASSIGN_OR_RETURN(const State state, Load());
    RETURN_IF_ERROR(CheckMayRead(caller, state.version));
    std::shared_ptr<ContentReader> reader;
    if (state.version.content != 0 && state.version.size_bytes > 0) {
      ASSIGN_OR_RETURN(reader, context_.contents.OpenContent(state.version.content,
                                                             state.version.size_bytes, Path()));
    }
    OpenedVirtual opened;
    opened.file = std::make_unique<OpenVersion>(std::move(reader));
    // What was cached before it was stored may be out of date: the first open after
    // that drops it.
    opened.keep_cache = state.content.stored && opened_stored_.exchange(true);
    return opened;
  }

  Result<std::string> GetXattr(std::string_view name) override {
    ASSIGN_OR_RETURN(State state, Load());
    std::optional<std::string> value = CaptureAttribute(name, state.version);
    if (!value) {
      if (IsVerdict(name)) {
        RETURN_IF_ERROR(
            AddVerdict(context_.contents, state.version.content, place_.name, &state.content));
      }
      value = StatusAttribute(name, {state.content, state.version.content, place_.number});
    }
    if (!value) return Status::Errno(ENODATA);
    return *std::move(value);
  }

 private:
  struct State {
    VersionRecord version;
    ContentRecord content;
  };

  Result<State> Load() const {
    const History history(context_.catalog);
    Result<VersionRecord> version = history.Find(place_.history, place_.name, place_.number);
    if (!version.ok()) return NotFoundAsErrno(version.status());
    // ESTALE makes the kernel look the name up again, though it believed it for longer.
    if (version->content != place_.content) return Status::Errno(ESTALE);
    Result<ContentRecord> content = history.Content(version->content);
    if (!content.ok()) return NotFoundAsErrno(content.status());
    // A content that went on after its capture has told only its own record.
    if (version->content != 0) version->size_bytes = content->size_bytes;
    return State{*std::move(version), *std::move(content)};
  }

  Status CheckMayRead(const Caller& caller, const VersionRecord& version) const {
    if (caller.uid == 0) return Status();
    RETURN_IF_ERROR(RequireAccess({version.mode, version.uid, version.gid}, caller, R_OK));
    const Result<InodeNumber> child = context_.live.Child(place_.directory, place_.name);
    if (child.ok()) {
      const Result<InodeRecord> now = context_.live.Inode(*child);
      if (now.ok()) return RequireAccess({now->mode, now->uid, now->gid}, caller, R_OK);
      if (!IsGone(now.status())) return now.status();
    } else if (!IsGone(child.status())) {
      return child.status();
    }
    return caller.uid == version.uid ? Status() : Status::Errno(EACCES);
  }

  std::string Path() const {
    return DirectoryPath(context_.live, place_.directory) + "/.varve/versions/" + place_.name +
           "/" + VersionName(place_.number);
  }

  const VirtualContext& context_;
  const VersionPlace place_;
  std::atomic<bool> opened_stored_ = false;
};

// `versions/FILE/latest`.
class LatestVersionLink final : public VirtualDirectory {
 public:
  LatestVersionLink(const VirtualContext& context, InodeNumber directory, HistoryId history,
                    std::string name)
      : VirtualDirectory(context, directory), history_(history), name_(std::move(name)) {}

  Result<Attributes> GetAttributes() override {
    ASSIGN_OR_RETURN(const InodeRecord directory, Directory());
    ASSIGN_OR_RETURN(const NumberedVersion latest, Latest());
    Attributes attributes = SymlinkAttributes(directory, VersionName(latest.number).size());
    struct stat& stat = attributes.stat;
    stat.st_atim = stat.st_mtim = stat.st_ctim = latest.record.capture_time;
    return attributes;
  }

  Result<std::string> ReadLink() override {
    ASSIGN_OR_RETURN(const NumberedVersion latest, Latest());
    return VersionName(latest.number);
  }

 private:
  Result<NumberedVersion> Latest() const {
    Result<NumberedVersion> latest = History(context_.catalog).Latest(history_, name_);
    if (!latest.ok()) return NotFoundAsErrno(latest.status());
    return latest;
  }

  const HistoryId history_;
  const std::string name_;
};

// `versions/FILE`.
class FileDirectory final : public VirtualDirectory {
 public:
  FileDirectory(const VirtualContext& context, InodeNumber directory, HistoryId history,
                std::string name)
      : VirtualDirectory(context, directory), history_(history), name_(std::move(name)) {}

  Result<Attributes> GetAttributes() override {
    ASSIGN_OR_RETURN(Attributes attributes, VirtualDirectory::GetAttributes());
    const Result<NumberedVersion> latest = History(context_.catalog).Latest(history_, name_);
    if (!latest.ok()) return NotFoundAsErrno(latest.status());
    struct stat& stat = attributes.stat;
    stat.st_atim = stat.st_mtim = stat.st_ctim = latest->record.capture_time;
    return attributes;
  }

  Result<std::shared_ptr<VirtualNode>> Lookup(std::string_view name) override {
    if (name == kLatest) {
      return std::shared_ptr<VirtualNode>(
          std::make_shared<LatestVersionLink>(context_, directory_, history_, name_));
    }
    const std::optional<VersionNumber> number = ParseVersionName(name);
    if (!number) return Status::Errno(ENOENT);
    const Result<VersionRecord> version = History(context_.catalog).Find(history_, name_, *number);
    if (!version.ok()) return NotFoundAsErrno(version.status());
    return std::shared_ptr<VirtualNode>(std::make_shared<VersionFile>(
        context_, VersionPlace{directory_, history_, name_, *number, version->content}));
  }

  Result<std::vector<VirtualName>> List() override {
    ASSIGN_OR_RETURN(const std::vector<VersionNumber> numbers,
                     History(context_.catalog).Numbers(history_, name_));
    std::vector<VirtualName> names;
    names.reserve(numbers.size() + 1);
    for (const VersionNumber number : numbers) names.push_back({VersionName(number), S_IFREG});
    if (!numbers.empty()) names.push_back({std::string(kLatest), S_IFLNK});
    return names;
  }

 private:
  const HistoryId history_;
  const std::string name_;
};

// `versions`.
class VersionsDirectory final : public VirtualDirectory {
 public:
  using VirtualDirectory::VirtualDirectory;

  int64_t name_valid_ns() const override { return kSecondNs; }

  Result<std::shared_ptr<VirtualNode>> Lookup(std::string_view name) override {
    ASSIGN_OR_RETURN(const InodeRecord directory, Directory());
    // A clone's file has its version once it was looked up; what was removed has those it had.
    (void)context_.live.Child(directory_, name);
    return std::shared_ptr<VirtualNode>(std::make_shared<FileDirectory>(
        context_, directory_, directory.history, std::string(name)));
  }

  Result<std::vector<VirtualName>> List() override {
    ASSIGN_OR_RETURN(const InodeRecord directory, Directory());
    RETURN_IF_ERROR(context_.live.LookUpAll(directory_));
    ASSIGN_OR_RETURN(std::vector<std::string> files,
                     History(context_.catalog).Names(directory.history));
    std::vector<VirtualName> names;
    names.reserve(files.size());
    for (std::string& file : files) names.push_back({std::move(file), S_IFDIR});
    return names;
  }
};

}  // namespace

std::shared_ptr<VirtualNode> MakeVersionsDirectory(const VirtualContext& context,
                                                   InodeNumber directory) {
  return std::make_shared<VersionsDirectory>(context, directory);
}

}  // namespace varve
