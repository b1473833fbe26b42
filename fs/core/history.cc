#include "fs/core/history.h"

#include <charconv>

namespace varve {

Result<std::vector<NumberedVersion>> History::Versions(HistoryId history,
                                                       std::string_view name) const {
  std::vector<NumberedVersion> versions;
  Status damage;
  const key::Range range = key::AllVersions(history, name);
  RETURN_IF_ERROR(
      catalog_.Scan(range.begin, range.end, [&](std::string_view row, std::string_view value) {
        Result<VersionRecord> record = VersionRecord::Decode(value);
        if (!record.ok()) {
          damage = record.status();
          return false;
        }
        versions.push_back({key::Number(row), *std::move(record)});
        return true;
      }));
  RETURN_IF_ERROR(damage);
  return versions;
}

Result<std::vector<VersionNumber>> History::Numbers(HistoryId history,
                                                    std::string_view name) const {
  std::vector<VersionNumber> numbers;
  const key::Range range = key::AllVersions(history, name);
  RETURN_IF_ERROR(
      catalog_.Scan(range.begin, range.end, [&](std::string_view row, std::string_view) {
        numbers.push_back(key::Number(row));
        return true;
      }));
  return numbers;
}

Result<std::vector<std::string>> History::Names(HistoryId history) const {
  std::vector<std::string> names;
  Status damage;
  const key::Range range = key::AllNames(history);
  RETURN_IF_ERROR(
      catalog_.Scan(range.begin, range.end, [&](std::string_view row, std::string_view value) {
        Result<NameRecord> record = NameRecord::Decode(value);
        if (!record.ok()) {
          damage = record.status();
          return false;
        }
        if (record->last_version > 0) names.emplace_back(key::NameOf(row));
        return true;
      }));
  RETURN_IF_ERROR(damage);
  // A name keeps its counter when the last of its versions was collected.
  std::erase_if(names, [&](const std::string& name) { return !HasVersions(history, name); });
  return names;
}

Result<VersionRecord> History::Find(HistoryId history, std::string_view name,
                                    VersionNumber number) const {
  ASSIGN_OR_RETURN(const std::optional<std::string> value,
                   catalog_.Get(key::Version(history, name, number)));
  if (!value) return Status(Code::kNotFound);
  return VersionRecord::Decode(*value);
}

Result<NumberedVersion> History::Latest(HistoryId history, std::string_view name) const {
  ASSIGN_OR_RETURN(const std::optional<std::string> value, catalog_.Get(key::Name(history, name)));
  if (!value) return Status(Code::kNotFound);
  ASSIGN_OR_RETURN(const NameRecord counters, NameRecord::Decode(*value));
  if (counters.last_version == 0) return Status(Code::kNotFound);
  Result<VersionRecord> newest = Find(history, name, counters.last_version);
  if (newest.ok()) return NumberedVersion{counters.last_version, *std::move(newest)};
  if (newest.status().code() != Code::kNotFound) return newest.status();
  // The newest one was collected, which is rare: look through what is left.
  ASSIGN_OR_RETURN(std::vector<NumberedVersion> versions, Versions(history, name));
  if (versions.empty()) return Status(Code::kNotFound);
  return std::move(versions.back());
}

Result<ContentRecord> History::Content(ContentId content) const {
  if (content == 0) {
    ContentRecord empty;
    empty.captured = empty.stored = empty.durable = true;
    return empty;
  }
  ASSIGN_OR_RETURN(const std::optional<std::string> value, catalog_.Get(key::Content(content)));
  if (!value) return Status(Code::kNotFound);
  return ContentRecord::Decode(*value);
}

std::string VersionName(VersionNumber number) {
  std::string digits = std::to_string(number);
  if (digits.size() < 4) digits.insert(0, 4 - digits.size(), '0');
  return digits;
}

std::optional<VersionNumber> ParseVersionName(std::string_view name) {
  VersionNumber number = 0;
  const auto parsed = std::from_chars(name.data(), name.data() + name.size(), number);
  if (parsed.ec != std::errc() || number == 0 || VersionName(number) != name) return std::nullopt;
  return number;
}

}  // namespace varve
