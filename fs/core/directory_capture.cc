#include "fs/core/directory_capture.h"

#include <algorithm>
#include <limits>
#include <set>

#include "fs/core/directory_history.h"

namespace varve {
namespace {

constexpr int64_t kSecondNs = 1'000'000'000;
constexpr int64_t kBoundNs = 60 * kSecondNs;
constexpr size_t kVersionsPerBatch = 1024;
// Nobody waits for a capture that is due, but its copies take room and time: one of a file
// that is being written may be so large, and a pin's as large as the file.
constexpr uint64_t kCopyBytesMax = uint64_t{64} << 20;
// What is written in place is its newest version, or the one before that.
constexpr unsigned kVersionsLookedAt = 16;

int64_t Nanoseconds(const struct timespec& time) {
  return static_cast<int64_t>(time.tv_sec) * kSecondNs + time.tv_nsec;
}

}  // namespace

Status DirectoryCapture::CaptureDue() {
  std::vector<InodeNumber> due;
  {
    MutexLock lock(d_.tree.mutex());
    RETURN_IF_ERROR(NoticeWritersLocked());
    due = d_.tree.dirty().FindDue({d_.quiet_ns, kBoundNs});
  }
  return CaptureInTurns(due);
}

Status DirectoryCapture::CaptureAll() {
  std::vector<InodeNumber> all;
  {
    MutexLock lock(d_.tree.mutex());
    all = d_.tree.dirty().All();
  }
  return CaptureInTurns(all);
}

Status DirectoryCapture::CaptureInTurns(const std::vector<InodeNumber>& directories) {
  for (size_t at = 0; at < directories.size(); at += kVersionsPerBatch) {
    const auto begin = directories.begin() + static_cast<ptrdiff_t>(at);
    const size_t count = std::min(kVersionsPerBatch, directories.size() - at);
    Request request;
    request.directories.assign(begin, begin + static_cast<ptrdiff_t>(count));
    RETURN_IF_ERROR(CaptureWithCopies(std::move(request), kCopyBytesMax));
  }
  return Status();
}

Status DirectoryCapture::NoticeWritersLocked() {
  const int64_t now = Nanoseconds(d_.clock.Now());
  Batch batch;
  for (const std::shared_ptr<OpenFile>& file : d_.files.AllLocked()) {
    const std::shared_ptr<Body> body = file->body();
    if (file->writers == 0 || !body || !body->stage()) continue;
    const Result<struct stat> stat = body->stage()->Stat();
    if (!stat.ok() || Stamp::Of(*stat) == file->captured) continue;
    if (now - Nanoseconds(stat->st_mtim) >= std::max(d_.quiet_ns, kSecondNs)) continue;
    const Result<InodeRecord> record = d_.tree.Inode(file->inode);
    if (!record.ok()) continue;
    ASSIGN_OR_RETURN(const std::vector<LinkName> names, d_.tree.Names(file->inode, *record));
    for (const LinkName& name : names) RETURN_IF_ERROR(d_.tree.dirty().Append(name.parent, &batch));
  }
  return batch.empty() ? Status() : d_.tree.Apply(batch);
}

// Its newest version that nobody is writing; where its name has none, as after a rename, what
// it was changed from; or nothing.
Result<InodeRecord> DirectoryCapture::LastClosedLocked(InodeNumber inode, InodeRecord record) {
  const ContentId written = record.content;
  ASSIGN_OR_RETURN(const bool listed, ShowListedLocked(inode, written, &record));
  if (listed) return record;
  record.content = 0;
  record.size_bytes = record.hole_bytes = 0;
  ASSIGN_OR_RETURN(ContentRecord content, d_.tree.Content(written));
  for (unsigned looked = 0; content.falls_back_to() != 0 && looked < kVersionsLookedAt; ++looked) {
    const ContentId base = content.falls_back_to();
    ASSIGN_OR_RETURN(content, d_.tree.Content(base));
    if (!content.captured) continue;
    record.content = base;
    record.size_bytes = content.size_bytes;
    return record;
  }
  return record;
}

Result<bool> DirectoryCapture::ShowListedLocked(InodeNumber inode, ContentId written,
                                                InodeRecord* record) {
  ASSIGN_OR_RETURN(const std::vector<LinkName> names, d_.tree.Names(inode, *record));
  if (names.empty()) return false;
  ASSIGN_OR_RETURN(const InodeRecord parent, d_.tree.Inode(names.front().parent));
  const std::string& name = names.front().name;
  ASSIGN_OR_RETURN(const NameRecord counters,
                   DirectoryHistory(d_.tree.catalog()).Name(key::Name(parent.history, name)));
  VersionNumber number = counters.last_version;
  for (unsigned looked = 0; number > 0 && looked < kVersionsLookedAt; --number, ++looked) {
    ASSIGN_OR_RETURN(const std::optional<std::string> row,
                     d_.tree.catalog().Get(key::Version(parent.history, name, number)));
    if (!row) continue;
    ASSIGN_OR_RETURN(const VersionRecord version, VersionRecord::Decode(*row));
    if (version.inode != inode) return false;
    if (version.content == written) continue;
    ASSIGN_OR_RETURN(const ContentRecord content, d_.tree.Content(version.content));
    record->content = version.content;
    record->size_bytes = content.size_bytes;  // it may have gone on after the version's
    record->hole_bytes = 0;
    record->modify_time = version.modify_time;
    return true;
  }
  return false;
}

Status DirectoryCapture::FindShownLocked(const Request& request,
                                         std::vector<SavedRows::Shown>* shown, Batch* batch) {
  std::set<InodeNumber> shown_otherwise;
  const auto show = [&](InodeNumber inode, const InodeRecord& record) {
    shown->push_back({key::Inode(inode), record.Encode()});
  };
  for (const LiveFiles::Copied& copy : request.copies) {
    Result<InodeRecord> record = d_.tree.Inode(copy.inode);
    if (!record.ok() || record->links == 0) continue;
    d_.files.AppendCopyLocked(copy, &*record, batch);
    show(copy.inode, *record);
    shown_otherwise.insert(copy.inode);
  }
  for (const InodeNumber inode : d_.files.UnsettledLocked()) {
    if (shown_otherwise.contains(inode)) continue;
    Result<InodeRecord> record = d_.tree.Inode(inode);
    if (!record.ok() || record->links == 0) continue;
    ASSIGN_OR_RETURN(const InodeRecord closed, LastClosedLocked(inode, *std::move(record)));
    show(inode, closed);
    shown_otherwise.insert(inode);
  }
  // Closed, and not released: it is named, so nobody opens it again to go on with it.
  for (const std::shared_ptr<OpenFile>& file : d_.files.AllLocked())
    if (file->writers > 0 && file->content != 0 && !shown_otherwise.contains(file->inode))
      RETURN_IF_ERROR(d_.files.AppendSharedLocked(file->content, batch));
  return Status();
}

Status DirectoryCapture::AppendVersions(const Request& request, Batch* batch) {
  const DirectoryHistory history(d_.tree.catalog());
  for (const InodeNumber directory : request.directories) {
    d_.tree.dirty().AppendClean(directory, batch);
    const Result<InodeRecord> record = d_.tree.Inode(directory);
    if (!record.ok() && record.status().os_errno() == ESTALE) continue;
    RETURN_IF_ERROR(record.status());
    if (!S_ISDIR(record->mode) || record->links == 0) continue;
    ASSIGN_OR_RETURN(const std::string name_row, history.NameRow(*record));
    ASSIGN_OR_RETURN(NameRecord name, history.Name(name_row));
    if (name.directory_versions == 0) {
      ASSIGN_OR_RETURN(name.directory_versions, d_.tree.NewId());
    }
    ++name.last_directory_version;
    DirectoryVersionRecord version;
    version.moment = d_.tree.now();
    version.inode = directory;
    version.capture_time = d_.tree.Now();
    version.reason = request.reason;
    batch->Put(key::DirectoryVersion(name.directory_versions, name.last_directory_version),
               version.Encode());
    batch->Put(name_row, name.Encode());
    if (!request.pin.empty())
      batch->Put(key::Pin(name.directory_versions, request.pin),
                 EncodePin(name.last_directory_version));
  }
  return Status();
}

bool DirectoryCapture::IsBelowAnyLocked(InodeNumber inode,
                                        const std::vector<InodeNumber>& directories) {
  const Result<InodeRecord> record = d_.tree.Inode(inode);
  if (!record.ok()) return false;
  const Result<std::vector<LinkName>> names = d_.tree.Names(inode, *record);
  if (!names.ok()) return false;
  return std::any_of(names->begin(), names->end(), [&](const LinkName& name) {
    return std::any_of(directories.begin(), directories.end(), [&](InodeNumber directory) {
      const Result<bool> below = d_.tree.IsBelow(name.parent, directory);
      return below.ok() && *below;
    });
  });
}

Status DirectoryCapture::CaptureWithCopies(Request request, uint64_t copy_bytes_max) {
  request.copies = d_.files.CopyWritten([&](InodeNumber inode, uint64_t bytes) {
    return bytes <= copy_bytes_max && IsBelowAnyLocked(inode, request.directories);
  });
  MutexLock lock(d_.tree.mutex());
  std::erase_if(request.copies, [&](const LiveFiles::Copied& copy) {
    if (d_.files.IsCurrentLocked(copy)) return false;
    d_.files.DropCopy(copy);
    return true;
  });
  if (!request.pin.empty()) {
    const Status free = CheckPinLocked(request.directories.front(), request.pin);
    if (!free.ok()) {
      for (const LiveFiles::Copied& copy : request.copies) d_.files.DropCopy(copy);
      return free;
    }
  }
  const std::function<Status(Moment)> then = std::move(request.then);
  const Moment ended = d_.tree.now();
  RETURN_IF_ERROR(CaptureRequestLocked(std::move(request)));
  return then ? then(ended) : Status();
}

Status DirectoryCapture::CaptureLocked(const std::vector<InodeNumber>& directories,
                                       CaptureReason reason) {
  return CaptureRequestLocked({directories, reason, "", {}, nullptr});
}

Status DirectoryCapture::CaptureRequestLocked(Request request) {
  const Status ended = [&]() -> Status {
    Batch batch;
    std::vector<SavedRows::Shown> shown;
    RETURN_IF_ERROR(FindShownLocked(request, &shown, &batch));
    RETURN_IF_ERROR(AppendVersions(request, &batch));
    return d_.tree.EndMoment(std::move(batch), shown);
  }();
  for (const LiveFiles::Copied& copy : request.copies)
    ended.ok() ? d_.files.KeepCopyLocked(copy) : d_.files.DropCopy(copy);
  if (ended.ok()) return ended;
  // They still wait for it; the rows that say so were not removed.
  Batch marks;
  for (const InodeNumber directory : request.directories)
    RETURN_IF_ERROR(d_.tree.dirty().Append(directory, &marks));
  return ended;
}

bool DirectoryCapture::IsReserved(std::string_view name) {
  const bool digits = name.size() > 1 && std::all_of(name.begin() + 1, name.end(),
                                                     [](char c) { return c >= '0' && c <= '9'; });
  return name == "latest" || name == ".varve" || (name[0] == 'v' && digits);
}

Status DirectoryCapture::CheckPinLocked(InodeNumber directory, std::string_view name) {
  ASSIGN_OR_RETURN(const InodeRecord record, d_.tree.Inode(directory));
  if (record.links == 0) return Status::Errno(ENOENT);
  const Result<VersionNumber> pinned = DirectoryHistory(d_.tree.catalog()).Pinned(record, name);
  if (pinned.ok()) return Status::Errno(EEXIST);
  return pinned.status().code() == Code::kNotFound ? Status() : pinned.status();
}

Status DirectoryCapture::Pin(InodeNumber directory, std::string_view name) {
  if (name.size() > kNameBytesMax) return Status::Errno(ENAMETOOLONG);
  if (name.empty() || IsReserved(name)) return Status::Errno(EINVAL);
  {
    MutexLock lock(d_.tree.mutex());
    RETURN_IF_ERROR(CheckPinLocked(directory, name));
  }
  return CaptureWithCopies({{directory}, CaptureReason::kPinned, name, {}, nullptr},
                           std::numeric_limits<uint64_t>::max());
}

Status DirectoryCapture::CaptureAnd(InodeNumber directory, std::function<Status(Moment)> then) {
  return CaptureWithCopies({{directory}, CaptureReason::kCloned, "", {}, std::move(then)},
                           std::numeric_limits<uint64_t>::max());
}

Status DirectoryCapture::Unpin(InodeNumber directory, std::string_view name) {
  MutexLock lock(d_.tree.mutex());
  const DirectoryHistory history(d_.tree.catalog());
  ASSIGN_OR_RETURN(const InodeRecord record, d_.tree.Inode(directory));
  const Result<VersionNumber> pinned = history.Pinned(record, name);
  if (!pinned.ok())
    return pinned.status().code() == Code::kNotFound ? Status::Errno(ENOENT) : pinned.status();
  ASSIGN_OR_RETURN(const std::string name_row, history.NameRow(record));
  ASSIGN_OR_RETURN(const NameRecord counters, history.Name(name_row));
  Batch batch;
  batch.Delete(key::Pin(counters.directory_versions, name));
  return d_.tree.Apply(batch);
}

}  // namespace varve
