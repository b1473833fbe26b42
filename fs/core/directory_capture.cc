#include "fs/core/directory_capture.h"

#include <algorithm>
#include <limits>

#include "fs/core/directory_history.h"

namespace varve {
namespace {

constexpr int64_t kSecondNs = 1'000'000'000;
constexpr int64_t kBoundNs = 60 * kSecondNs;
constexpr size_t kVersionsPerBatch = 1024;

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
    MutexLock lock(d_.tree.mutex());
    RETURN_IF_ERROR(
        CaptureLocked({begin, begin + static_cast<ptrdiff_t>(count)}, CaptureReason::kQuiet));
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

// The newest captured content below the one that is being written, or nothing.
Result<InodeRecord> DirectoryCapture::LastClosedLocked(const OpenFile& file, InodeRecord record) {
  const DirectoryHistory history(d_.tree.catalog());
  ASSIGN_OR_RETURN(const std::vector<LinkName> names, d_.tree.Names(file.inode, record));
  record.content = 0;
  record.size_bytes = record.hole_bytes = 0;
  if (names.empty()) return record;
  ASSIGN_OR_RETURN(const InodeRecord parent, d_.tree.Inode(names.front().parent));
  ASSIGN_OR_RETURN(const NameRecord counters,
                   history.Name(key::Name(parent.history, names.front().name)));
  ASSIGN_OR_RETURN(const std::optional<std::string> row,
                   d_.tree.catalog().Get(
                       key::Version(parent.history, names.front().name, counters.last_version)));
  if (!row) return record;
  ASSIGN_OR_RETURN(const VersionRecord version, VersionRecord::Decode(*row));
  if (version.inode != file.inode) return record;
  record.content = version.content;
  record.size_bytes = version.size_bytes;
  record.modify_time = version.modify_time;
  return record;
}

Status DirectoryCapture::FindShownLocked(std::vector<SavedRows::Shown>* shown) {
  for (const std::shared_ptr<OpenFile>& file : d_.files.AllLocked()) {
    if (file->content == 0 || file->record.captured || file->record.stored) continue;
    Result<InodeRecord> record = d_.tree.Inode(file->inode);
    if (!record.ok() || record->links == 0 || record->content != file->content) continue;
    ASSIGN_OR_RETURN(const InodeRecord closed, LastClosedLocked(*file, *std::move(record)));
    shown->push_back({key::Inode(file->inode), closed.Encode()});
  }
  return Status();
}

Status DirectoryCapture::AppendVersions(const std::vector<InodeNumber>& directories,
                                        CaptureReason reason, Batch* batch) {
  const DirectoryHistory history(d_.tree.catalog());
  for (const InodeNumber directory : directories) {
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
    version.reason = reason;
    batch->Put(key::DirectoryVersion(name.directory_versions, name.last_directory_version),
               version.Encode());
    batch->Put(name_row, name.Encode());
  }
  return Status();
}

Status DirectoryCapture::CaptureLocked(const std::vector<InodeNumber>& directories,
                                       CaptureReason reason) {
  std::vector<SavedRows::Shown> shown;
  RETURN_IF_ERROR(FindShownLocked(&shown));
  Batch batch;
  RETURN_IF_ERROR(AppendVersions(directories, reason, &batch));
  const Status ended = d_.tree.EndMoment(std::move(batch), shown);
  if (ended.ok()) return ended;
  // They still wait for it; the rows that say so were not removed.
  Batch marks;
  for (const InodeNumber directory : directories)
    RETURN_IF_ERROR(d_.tree.dirty().Append(directory, &marks));
  return ended;
}

bool DirectoryCapture::IsReserved(std::string_view name) {
  const bool digits = name.size() > 1 && std::all_of(name.begin() + 1, name.end(),
                                                     [](char c) { return c >= '0' && c <= '9'; });
  return name == "latest" || name == ".varve" || (name[0] == 'v' && digits);
}

Status DirectoryCapture::Pin(InodeNumber directory, std::string_view name) {
  if (name.size() > kNameBytesMax) return Status::Errno(ENAMETOOLONG);
  if (name.empty() || IsReserved(name)) return Status::Errno(EINVAL);
  MutexLock lock(d_.tree.mutex());
  const DirectoryHistory history(d_.tree.catalog());
  ASSIGN_OR_RETURN(const InodeRecord record, d_.tree.Inode(directory));
  if (record.links == 0) return Status::Errno(ENOENT);
  const Result<VersionNumber> pinned = history.Pinned(record, name);
  if (pinned.ok()) return Status::Errno(EEXIST);
  if (pinned.status().code() != Code::kNotFound) return pinned.status();
  RETURN_IF_ERROR(CaptureLocked({directory}, CaptureReason::kPinned));
  ASSIGN_OR_RETURN(const std::string name_row, history.NameRow(record));
  ASSIGN_OR_RETURN(const NameRecord counters, history.Name(name_row));
  Batch batch;
  batch.Put(key::Pin(counters.directory_versions, name),
            EncodePin(counters.last_directory_version));
  return d_.tree.Apply(batch);
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
