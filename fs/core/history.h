// Reads versions out of the index. Pure reads: capture writes them, not this.
//
// Threads: all methods may be called concurrently. Each call sees a state of its
//          own; a version that is found may be collected before the next call.
// Errors:  kNotFound for what does not exist; kCorrupt for a damaged record.
// Format:  docs/FORMAT.md, "Index".
#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "fs/core/keys.h"
#include "fs/core/records.h"
#include "index/catalog.h"
#include "store/base/result.h"

namespace varve {

struct NumberedVersion {
  VersionNumber number = 0;
  VersionRecord record;
};

class History {
 public:
  // `catalog` outlives it.
  explicit History(Catalog& catalog) : catalog_(catalog) {}

  // All versions of a name, ascending; none for a name that never had one.
  Result<std::vector<NumberedVersion>> Versions(HistoryId history, std::string_view name) const;
  // The same, numbers only: for listings.
  Result<std::vector<VersionNumber>> Numbers(HistoryId history, std::string_view name) const;
  // Names that have at least one version, in byte order.
  Result<std::vector<std::string>> Names(HistoryId history) const;
  // Fails with kNotFound.
  Result<VersionRecord> Find(HistoryId history, std::string_view name, VersionNumber number) const;
  // The version with the highest number. Fails with kNotFound.
  Result<NumberedVersion> Latest(HistoryId history, std::string_view name) const;
  bool HasVersions(HistoryId history, std::string_view name) const {
    return Latest(history, name).ok();
  }

  // What a version's content is like. Content 0, the empty one, has no record: it is
  // stored, durable and complete by nature. Fails with kNotFound.
  Result<ContentRecord> Content(ContentId content) const;

 private:
  Catalog& catalog_;
};

// "0001": at least four digits, as in `.varve/versions/FILE/`.
std::string VersionName(VersionNumber number);
// The number that VersionName() made this of; nothing for any other text.
std::optional<VersionNumber> ParseVersionName(std::string_view name);

}  // namespace varve
