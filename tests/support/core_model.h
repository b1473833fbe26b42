// What a store should contain: a tree and its history, in memory.
//
// A Model is a value, so that a test keeps the states of every moment to which a
// power cut may go back. It knows the rules of names, and which version a capture
// makes (docs/SEMANTICS.md, "Versions"); it knows nothing of where bytes are.
// Numbers (inodes, contents, histories) are those that the store gave.
//
// Threads: values.
// Errors:  an errno, 0 for success; a failed change changes nothing.
#pragma once

#include <sys/stat.h>

#include <map>
#include <memory>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "fs/core/keys.h"
#include "fs/core/records.h"
#include "fs/core/tree.h"

namespace varve::testing {

using BytesPointer = std::shared_ptr<const std::string>;  // never null
BytesPointer MakeBytes(std::string bytes);

struct ModelNode {
  mode_t mode = 0;
  uid_t uid = 0;
  gid_t gid = 0;
  std::map<std::string, std::string> xattrs;
  // Regular files.
  ContentId content = 0;
  BytesPointer bytes = MakeBytes({});
  // Symbolic links.
  std::string target;
  // Directories.
  HistoryId history = 0;
  std::map<std::string, InodeNumber> names;
};

struct ModelVersion {
  ContentId content = 0;
  BytesPointer bytes;
};

// A captured directory: it and all below it, as they have to be shown for ever.
struct ModelCapture {
  DirectoryVersionRecord record;
  std::map<InodeNumber, ModelNode> nodes;
};

// The history of one name.
struct ModelName {
  VersionNumber last = 0;
  HistoryId child = 0;  // waits for a directory of that name
  std::map<VersionNumber, ModelVersion> versions;
  // Of the directories that had the name.
  VersionNumber last_directory = 0;
  std::map<VersionNumber, std::shared_ptr<const ModelCapture>> directories;
  std::map<std::string, VersionNumber> pins;

  bool empty() const { return last == 0 && child == 0 && last_directory == 0; }
};

class Model {
 public:
  using HistoryKey = std::pair<HistoryId, std::string>;
  // Which contents versions name. Shared by all states of one life.
  using Captured = std::set<ContentId>;

  std::map<InodeNumber, ModelNode> nodes;
  std::map<HistoryKey, ModelName> history;

  // Names.
  int CheckNew(const LinkName& place) const;
  int Make(const LinkName& place, InodeNumber inode, ModelNode node);
  int Link(InodeNumber inode, const LinkName& place, const Captured& captured);
  int Unlink(const LinkName& place);
  int RemoveDirectory(const LinkName& place);
  int Rename(const LinkName& from, const LinkName& to, unsigned flags, const Captured& captured);

  // The file is the newest version under each of its names. Returns those names.
  void Capture(InodeNumber inode);
  // A copy of it under another content, as an fsync of an open file makes it.
  void CaptureAs(InodeNumber inode, ContentId content);

  // Under which the versions of a directory are.
  HistoryKey KeyOf(InodeNumber directory) const;
  // `directory` as a capture of this state shows it.
  ModelCapture CaptureOf(const DirectoryVersionRecord& record) const;

  // What a mount forgets: files that have no name.
  void DropUnnamed();

  InodeNumber Find(const LinkName& place) const;  // 0: nothing
  // True if another version has the inode's content than the newest one of a name
  // that it has now.
  bool NamedElsewhere(InodeNumber inode) const;
  std::vector<LinkName> NamesOf(InodeNumber inode) const;
  nlink_t LinksOf(InodeNumber inode) const;
  bool IsDirectory(InodeNumber inode) const;
  std::string PathOf(InodeNumber inode) const;

 private:
  bool IsBelow(InodeNumber directory, InodeNumber ancestor) const;
  InodeNumber ParentOf(InodeNumber directory) const;
  void CaptureUnder(const LinkName& place, ContentId content, const BytesPointer& bytes);
  void ForgetTemporary(const LinkName& place, ContentId content);
  void LeaveDirectory(const LinkName& place, HistoryId child);
  // core_model_history.cc
  void MoveDirectory(const LinkName& from, const LinkName& to, InodeNumber moved);
  void AppendHistory(InodeNumber directory, HistoryId from, HistoryId to);
  static void AppendDirectories(ModelName* from, ModelName* to);

  int Replace(const LinkName& from, const LinkName& to, const Captured& captured);
  void Exchange(const LinkName& from, const LinkName& to, const Captured& captured);
};

}  // namespace varve::testing
