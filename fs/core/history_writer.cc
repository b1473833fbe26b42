#include "fs/core/history_writer.h"

namespace varve {
namespace {

void PutOrDelete(std::string key, const NameRecord& counters, Batch* batch) {
  counters.empty() ? batch->Delete(std::move(key)) : batch->Put(std::move(key), counters.Encode());
}

}  // namespace

Result<HistoryId> HistoryWriter::HistoryOf(InodeNumber directory) {
  ASSIGN_OR_RETURN(const InodeRecord record, tree_.Inode(directory));
  return record.history;
}

Result<NameRecord> HistoryWriter::Name(HistoryId history, std::string_view name) {
  ASSIGN_OR_RETURN(const std::optional<std::string> row,
                   tree_.catalog().Get(key::Name(history, name)));
  if (!row) return NameRecord();
  return NameRecord::Decode(*row);
}

Result<std::optional<VersionRecord>> HistoryWriter::Newest(HistoryId history, std::string_view name,
                                                           const NameRecord& record) {
  if (record.last_version == 0) return std::optional<VersionRecord>();
  ASSIGN_OR_RETURN(const std::optional<std::string> row,
                   tree_.catalog().Get(key::Version(history, name, record.last_version)));
  if (!row) return std::optional<VersionRecord>();
  ASSIGN_OR_RETURN(VersionRecord version, VersionRecord::Decode(*row));
  return std::optional<VersionRecord>(std::move(version));
}

Status HistoryWriter::Capture(InodeNumber inode, const InodeRecord& record, ContentId content,
                              Batch* batch) {
  ASSIGN_OR_RETURN(const std::vector<LinkName> names, tree_.Names(inode, record));
  for (const LinkName& name : names)
    RETURN_IF_ERROR(CaptureUnder(name, inode, record, content, batch));
  return Status();
}

Status HistoryWriter::CaptureUnder(const LinkName& name, InodeNumber inode,
                                   const InodeRecord& record, ContentId content, Batch* batch) {
  RETURN_IF_ERROR(tree_.dirty().Append(name.parent, batch));
  return ListUnder(name, inode, record, content, batch);
}

Status HistoryWriter::ListUnder(const LinkName& name, InodeNumber inode, const InodeRecord& record,
                                ContentId content, Batch* batch) {
  ASSIGN_OR_RETURN(const HistoryId history, HistoryOf(name.parent));
  ASSIGN_OR_RETURN(NameRecord counters, Name(history, name.name));
  ASSIGN_OR_RETURN(const std::optional<VersionRecord> newest, Newest(history, name.name, counters));
  if (!newest || newest->content != content) {
    ++counters.last_version;
    batch->Put(key::Name(history, name.name), counters.Encode());
  }
  VersionRecord version;
  version.content = content;
  version.inode = inode;
  version.size_bytes = record.size_bytes;
  version.capture_time = tree_.Now();
  version.modify_time = record.modify_time;
  version.mode = record.mode;
  version.uid = record.uid;
  version.gid = record.gid;
  batch->Put(key::Version(history, name.name, counters.last_version), version.Encode());
  return Status();
}

Result<bool> HistoryWriter::ForgetTemporary(const LinkName& name, ContentId content, Batch* batch) {
  ASSIGN_OR_RETURN(const HistoryId history, HistoryOf(name.parent));
  ASSIGN_OR_RETURN(const NameRecord counters, Name(history, name.name));
  if (counters.last_version != 1) return false;
  ASSIGN_OR_RETURN(const std::optional<VersionRecord> only, Newest(history, name.name, counters));
  if (!only || only->content != content) return false;
  batch->Delete(key::Version(history, name.name, 1));
  NameRecord left = counters;
  left.last_version = 0;
  PutOrDelete(key::Name(history, name.name), left, batch);
  return true;
}

Result<std::optional<VersionNumber>> HistoryWriter::NewestNumber(InodeNumber inode,
                                                                 const InodeRecord& record) {
  ASSIGN_OR_RETURN(const std::vector<LinkName> names, tree_.Names(inode, record));
  if (names.empty()) return std::optional<VersionNumber>();
  ASSIGN_OR_RETURN(const HistoryId history, HistoryOf(names.front().parent));
  ASSIGN_OR_RETURN(const NameRecord counters, Name(history, names.front().name));
  if (counters.last_version == 0) return std::optional<VersionNumber>();
  return std::optional<VersionNumber>(counters.last_version);
}

Status HistoryWriter::LeaveDirectory(const LinkName& name, HistoryId history, Batch* batch) {
  // Only a directory whose names have a history leaves one.
  ASSIGN_OR_RETURN(const bool any, HasNames(history));
  if (!any) return Status();
  ASSIGN_OR_RETURN(const HistoryId parent, HistoryOf(name.parent));
  ASSIGN_OR_RETURN(NameRecord counters, Name(parent, name.name));
  if (counters.child_history != 0 && counters.child_history != history) {
    // Two of that name have gone: both go on in the one that comes.
    ASSIGN_OR_RETURN(Joining joining, JoinIn(batch));
    return AppendHistory({0, history, counters.child_history}, &joining);
  }
  counters.child_history = history;
  batch->Put(key::Name(parent, name.name), counters.Encode());
  return Status();
}

Result<HistoryId> HistoryWriter::AdoptDirectory(const LinkName& name, Batch* batch) {
  ASSIGN_OR_RETURN(const HistoryId parent, HistoryOf(name.parent));
  ASSIGN_OR_RETURN(NameRecord counters, Name(parent, name.name));
  const HistoryId history = counters.child_history;
  if (history == 0) return history;
  counters.child_history = 0;
  PutOrDelete(key::Name(parent, name.name), counters, batch);
  return history;
}

}  // namespace varve
