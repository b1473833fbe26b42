// Everything that a store shows, read back through the calls that the kernel makes;
// history from the rows of the index, its bytes as `.varve/versions` reads them, and
// captured trees through the calls below `.varve/history`.
//
// Threads: free functions.
// Errors:  what could not be read is in `failures`, with its path.
#pragma once

#include <map>
#include <string>
#include <vector>

#include "fs/core/store_parts.h"
#include "tests/support/core_model.h"

namespace varve::testing {

struct DumpedNode {
  struct stat stat {};
  std::map<std::string, std::string> xattrs;
  std::map<std::string, InodeNumber> names;
  std::string target;
  HistoryId history = 0;
  ContentId content = 0;
  std::string bytes;
  bool complete = false;  // user.varve.complete
  bool torn = false;
};

struct DumpedVersion {
  VersionRecord record;
  ContentRecord content;
  std::string bytes;
};

// What `.varve/history` shows of one version. Inodes are numbered as they were.
struct DumpedCapture {
  DirectoryVersionRecord record;
  std::map<InodeNumber, DumpedNode> nodes;
};

struct DumpedName {
  NameRecord counters;
  std::map<VersionNumber, DumpedVersion> versions;
  std::map<VersionNumber, DumpedCapture> directories;
  std::map<std::string, VersionNumber> pins;
};

struct Dump {
  std::map<InodeNumber, DumpedNode> nodes;
  std::map<Model::HistoryKey, DumpedName> history;
  std::vector<std::string> failures;
};

Dump MakeDump(StoreParts& parts);

// All bytes of an open file or version.
Result<std::string> ReadAll(NodeOps& nodes, NodeId node, HandleId handle, size_t size_max);
// As versions show it.
Result<std::string> ReadContent(StoreParts& parts, ContentId content);
// Through `.varve/versions/NAME/NUMBER`.
Result<std::string> ReadVersion(StoreParts& parts, const LinkName& place, VersionNumber number);

}  // namespace varve::testing
