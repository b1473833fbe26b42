// Writes history: gives a name in a directory its next version.
//
// Threads: needs Tree::mutex().
#pragma once

#include <map>
#include <string>

#include "fs/core/tree.h"

namespace varve {

class HistoryWriter {
 public:
  explicit HistoryWriter(Tree& tree) : tree_(tree) {}

  // Lists `content` as the newest version under every name the inode has. Where the
  // newest version is that content already, its size and times are brought up to date.
  Status Capture(InodeNumber inode, const InodeRecord& record, ContentId content, Batch* batch);

  // The same under one name.
  Status CaptureUnder(const LinkName& name, InodeNumber inode, const InodeRecord& record,
                      ContentId content, Batch* batch);

  // The same, of what was there before: no directory is to be captured for it.
  Status ListUnder(const LinkName& name, InodeNumber inode, const InodeRecord& record,
                   ContentId content, Batch* batch);

  // A name was renamed away: if all it ever had is one version, `content`, it was a
  // temporary one and leaves nothing behind.
  // Returns whether it did.
  Result<bool> ForgetTemporary(const LinkName& name, ContentId content, Batch* batch);

  // The number of the newest version under the inode's name; nothing if there is none.
  Result<std::optional<VersionNumber>> NewestNumber(InodeNumber inode, const InodeRecord& record);

  // A directory was removed, or is made: its history waits under its name.
  Status LeaveDirectory(const LinkName& name, HistoryId history, Batch* batch);
  Result<HistoryId> AdoptDirectory(const LinkName& name, Batch* batch);  // 0: none waits

  // A directory is renamed: its history, and that of what is in it, goes along and
  // continues what its new name has. `record` is the directory's.
  // REQUIRES: LeaveDirectory() was called for the empty one that it replaces.
  struct DirectoryMove {
    LinkName from;
    LinkName to;
    InodeNumber inode = 0;
    HistoryId replaced = 0;  // of the directory that had the new name
  };
  Status MoveDirectory(const DirectoryMove& move, InodeRecord* record, Batch* batch);

 private:
  // history_directories.cc
  struct Continued {
    InodeNumber directory = 0;  // the live one that has history `from`; 0: none
    HistoryId from = 0;
    HistoryId to = 0;
  };
  // Several joins of a batch may change the counters of one name, and the catalog tells what
  // they were before.
  struct Joining {
    Batch* batch;
    std::map<std::string, NameRecord> names;  // that the batch changes, by the keys of their rows
  };
  Result<Joining> JoinIn(Batch* batch);
  Result<bool> HasNames(HistoryId history);
  Result<NameRecord> NameNow(const Joining& joining, HistoryId history, std::string_view name);
  void PutName(HistoryId history, std::string_view name, const NameRecord& record,
               Joining* joining);
  Status AppendHistory(const Continued& continued, Joining* joining);
  Status AppendName(const Continued& continued, const std::string& name, Joining* joining);
  Status AppendFileVersions(const Continued& continued, const std::string& name,
                            VersionNumber after, Batch* batch);
  Status AppendDirectoryVersions(const NameRecord& from, NameRecord* to, Batch* batch);
  Status AdoptSubdirectories(const Continued& continued, Joining* joining);

  Result<HistoryId> HistoryOf(InodeNumber directory);
  Result<NameRecord> Name(HistoryId history, std::string_view name);
  Result<std::optional<VersionRecord>> Newest(HistoryId history, std::string_view name,
                                              const NameRecord& record);

  Tree& tree_;
};

}  // namespace varve
