// Reads the versions of directories, and their pins. Pure reads.
//
// Versions belong to a name in a directory, as those of files do: the name's record
// leads to a list of them, which stays when the directory is removed and goes along
// when it is renamed.
//
// Threads: all methods may be called concurrently.
// Errors:  kNotFound for what does not exist; kCorrupt for a damaged row.
// Format:  docs/FORMAT.md, "Rows of the index".
#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "fs/core/records.h"
#include "index/catalog.h"

namespace varve {

struct NumberedDirectoryVersion {
  VersionNumber number = 0;
  DirectoryVersionRecord record;
};

struct DirectoryPin {
  std::string name;
  VersionNumber number = 0;
};

class DirectoryHistory {
 public:
  // `catalog` outlives it.
  explicit DirectoryHistory(Catalog& catalog) : catalog_(catalog) {}

  // The row of the name that a directory has now: where its list is found.
  Result<std::string> NameRow(const InodeRecord& directory) const;
  // A name that has no record yet has an empty one.
  Result<NameRecord> Name(const std::string& name_row) const;

  // Ascending; none for a directory that was never captured.
  Result<std::vector<VersionNumber>> Numbers(const InodeRecord& directory) const;
  Result<DirectoryVersionRecord> Find(const InodeRecord& directory, VersionNumber number) const;
  Result<NumberedDirectoryVersion> Latest(const InodeRecord& directory) const;

  Result<std::vector<DirectoryPin>> Pins(const InodeRecord& directory) const;
  Result<VersionNumber> Pinned(const InodeRecord& directory, std::string_view name) const;

 private:
  Result<HistoryId> List(const InodeRecord& directory) const;

  Catalog& catalog_;
};

std::string EncodePin(VersionNumber number);
Result<VersionNumber> DecodePin(std::string_view row);

// "v7", as in `.varve/history/`.
std::string DirectoryVersionName(VersionNumber number);
// The number that DirectoryVersionName() made this of; nothing for any other text.
std::optional<VersionNumber> ParseDirectoryVersionName(std::string_view name);

}  // namespace varve
