#include "fs/core/directory_history.h"

#include <charconv>

#include "fs/core/node_ops.h"
#include "store/base/bytes.h"

namespace varve {
namespace {

// What the root is called in its own history: no name can be that.
constexpr std::string_view kRootName = ".";

}  // namespace

Result<std::string> DirectoryHistory::NameRow(const InodeRecord& directory) const {
  const bool root = directory.name.empty() && directory.parent == kRootNode;
  if (root) return key::Name(directory.history, kRootName);
  ASSIGN_OR_RETURN(const std::optional<std::string> row,
                   catalog_.Get(key::Inode(directory.parent)));
  if (!row) return Status(Code::kNotFound);
  ASSIGN_OR_RETURN(const InodeRecord parent, InodeRecord::Decode(*row));
  return key::Name(parent.history, directory.name);
}

Result<NameRecord> DirectoryHistory::Name(const std::string& name_row) const {
  ASSIGN_OR_RETURN(const std::optional<std::string> row, catalog_.Get(name_row));
  if (!row) return NameRecord();
  return NameRecord::Decode(*row);
}

Result<HistoryId> DirectoryHistory::List(const InodeRecord& directory) const {
  ASSIGN_OR_RETURN(const std::string row, NameRow(directory));
  ASSIGN_OR_RETURN(const NameRecord name, Name(row));
  return name.directory_versions;
}

Result<std::vector<VersionNumber>> DirectoryHistory::Numbers(const InodeRecord& directory) const {
  ASSIGN_OR_RETURN(const HistoryId list, List(directory));
  std::vector<VersionNumber> numbers;
  if (list == 0) return numbers;
  const key::Range range = key::AllDirectoryVersions(list);
  RETURN_IF_ERROR(
      catalog_.Scan(range.begin, range.end, [&](std::string_view row_key, std::string_view) {
        numbers.push_back(key::Number(row_key));
        return true;
      }));
  return numbers;
}

Result<DirectoryVersionRecord> DirectoryHistory::Find(const InodeRecord& directory,
                                                      VersionNumber number) const {
  ASSIGN_OR_RETURN(const HistoryId list, List(directory));
  ASSIGN_OR_RETURN(const std::optional<std::string> row,
                   catalog_.Get(key::DirectoryVersion(list, number)));
  if (!row) return Status(Code::kNotFound);
  return DirectoryVersionRecord::Decode(*row);
}

Result<NumberedDirectoryVersion> DirectoryHistory::Latest(const InodeRecord& directory) const {
  ASSIGN_OR_RETURN(const std::string name_row, NameRow(directory));
  ASSIGN_OR_RETURN(const NameRecord name, Name(name_row));
  if (name.last_directory_version == 0) return Status(Code::kNotFound);
  Result<DirectoryVersionRecord> newest = Find(directory, name.last_directory_version);
  if (newest.ok()) return NumberedDirectoryVersion{name.last_directory_version, *newest};
  if (newest.status().code() != Code::kNotFound) return newest.status();
  // The newest one was collected, which is rare: look through what is left.
  ASSIGN_OR_RETURN(const std::vector<VersionNumber> numbers, Numbers(directory));
  if (numbers.empty()) return Status(Code::kNotFound);
  ASSIGN_OR_RETURN(const DirectoryVersionRecord record, Find(directory, numbers.back()));
  return NumberedDirectoryVersion{numbers.back(), record};
}

Result<std::vector<DirectoryPin>> DirectoryHistory::Pins(const InodeRecord& directory) const {
  ASSIGN_OR_RETURN(const HistoryId list, List(directory));
  std::vector<DirectoryPin> pins;
  if (list == 0) return pins;
  Status damaged;
  const key::Range range = key::AllPins(list);
  RETURN_IF_ERROR(
      catalog_.Scan(range.begin, range.end, [&](std::string_view row_key, std::string_view row) {
        const Result<VersionNumber> number = DecodePin(row);
        damaged = number.status();
        if (!number.ok()) return false;
        pins.push_back({std::string(key::PinName(row_key)), *number});
        return true;
      }));
  RETURN_IF_ERROR(damaged);
  return pins;
}

Result<VersionNumber> DirectoryHistory::Pinned(const InodeRecord& directory,
                                               std::string_view name) const {
  ASSIGN_OR_RETURN(const HistoryId list, List(directory));
  ASSIGN_OR_RETURN(const std::optional<std::string> row, catalog_.Get(key::Pin(list, name)));
  if (list == 0 || !row) return Status(Code::kNotFound);
  return DecodePin(*row);
}

std::string EncodePin(VersionNumber number) {
  std::string row;
  ByteWriter(&row).U32(number);
  return row;
}

Result<VersionNumber> DecodePin(std::string_view row) {
  ByteReader in(row);
  const VersionNumber number = in.U32();
  if (!in.Done()) return Status(Code::kCorrupt, "a record of the index is damaged: pin");
  return number;
}

std::string DirectoryVersionName(VersionNumber number) { return "v" + std::to_string(number); }

std::optional<VersionNumber> ParseDirectoryVersionName(std::string_view name) {
  VersionNumber number = 0;
  if (!name.starts_with('v')) return std::nullopt;
  const auto parsed = std::from_chars(name.data() + 1, name.data() + name.size(), number);
  if (parsed.ec != std::errc() || number == 0 || DirectoryVersionName(number) != name)
    return std::nullopt;
  return number;
}

}  // namespace varve
