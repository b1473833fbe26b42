#include "fs/core/collect_oldest.h"

#include <algorithm>
#include <set>
#include <tuple>
#include <unordered_set>
#include <utility>

#include "fs/core/collect_chunks.h"
#include "fs/core/collect_saved.h"
#include "fs/core/directory_history.h"

namespace varve {
namespace {

constexpr size_t kBatchRows = 256;
constexpr size_t kNumberBytes = 4;
constexpr size_t kIdBytes = 1 + 8;  // the table and the history

// The part of a version's key that all versions of the name have.
std::string_view PrefixOf(std::string_view row_key) {
  return row_key.substr(0, row_key.size() - kNumberBytes);
}

std::string_view NameIn(std::string_view prefix) {
  return prefix.substr(kIdBytes, prefix.size() - kIdBytes - 1);
}

}  // namespace

Result<CollectVersions::Dropped> CollectOldest::Drop(uint64_t wanted_bytes) {
  CollectVersions::Dropped dropped;
  RETURN_IF_ERROR(Gather());
  ASSIGN_OR_RETURN(const uint64_t garbage, BytesOf(0));  // for the next collection, anyway
  ASSIGN_OR_RETURN(const uint64_t all,
                   BytesOf(versions_.size(), [&](const CollectContents& contents) {
                     // What something else shows would give nothing.
                     std::erase_if(versions_, [&](const Version& version) {
                       return version.content != 0 && !contents.IsDead(version.content);
                     });
                   }));
  if (all <= garbage) return dropped;
  const uint64_t enough_bytes = garbage + std::min(wanted_bytes, all - garbage);
  size_t few = 0;
  size_t enough = versions_.size();
  while (enough - few > 1) {
    const size_t half = few + (enough - few) / 2;
    ASSIGN_OR_RETURN(const uint64_t bytes, BytesOf(half));
    (bytes >= enough_bytes ? enough : few) = half;
  }
  for (size_t begin = 0; begin < enough; begin += kBatchRows) {
    RowPage rows;
    for (size_t i = begin; i < std::min(begin + kBatchRows, enough); ++i) {
      ++(versions_[i].row_key[0] == key::kVersion ? dropped.files : dropped.directories);
      rows.emplace_back(versions_[i].row_key, versions_[i].row);
    }
    RETURN_IF_ERROR(DropUnchanged(d_.tree, rows));
  }
  return dropped;
}

Status CollectOldest::Gather() {
  versions_.clear();
  RETURN_IF_ERROR(GatherFiles());
  RETURN_IF_ERROR(GatherDirectories());
  std::sort(versions_.begin(), versions_.end(), [](const Version& a, const Version& b) {
    return std::tie(a.captured.tv_sec, a.captured.tv_nsec, a.row_key) <
           std::tie(b.captured.tv_sec, b.captured.tv_nsec, b.row_key);
  });
  return Status();
}

Status CollectOldest::GatherFiles() {
  CollectRules rules(d_.tree);
  RETURN_IF_ERROR(rules.Load());
  std::vector<Version> versions;
  const Status walked =
      ForEachPage(d_.tree.catalog(), key::Table(key::kVersion), [&](const RowPage& page) -> Status {
        for (const auto& [row_key, row] : page) {
          ASSIGN_OR_RETURN(const VersionRecord record, VersionRecord::Decode(row));
          if (!versions.empty() && PrefixOf(versions.back().row_key) != PrefixOf(row_key))
            RETURN_IF_ERROR(AddName(rules, std::exchange(versions, {})));
          versions.push_back({row_key, row, record.capture_time, record.content});
        }
        return pause_() ? Status() : Status(Code::kBusy, "the collection was stopped");
      });
  RETURN_IF_ERROR(walked);
  return AddName(rules, std::move(versions));
}

Status CollectOldest::AddName(CollectRules& rules, std::vector<Version> versions) {
  // From the newest on, up to the newest that is stored.
  bool any_stored = false;
  for (size_t i = versions.size(); i-- > 0;) {
    if (versions[i].content == 0) {  // empty: it takes no room, and is as good as stored
      any_stored = true;
      continue;
    }
    ASSIGN_OR_RETURN(const std::optional<std::string> row,
                     d_.tree.catalog().Get(key::Content(versions[i].content)));
    if (!row) continue;  // fsck's business
    ASSIGN_OR_RETURN(const ContentRecord record, ContentRecord::Decode(*row));
    if (!record.stored || record.torn) continue;
    if (!std::exchange(any_stored, true)) {
      const std::string_view name = PrefixOf(versions[i].row_key);
      ASSIGN_OR_RETURN(const bool there, rules.HasName(key::Id(name), NameIn(name)));
      if (there || i + 1 < versions.size()) continue;
    }
    versions_.push_back(std::move(versions[i]));
  }
  return Status();
}

Status CollectOldest::GatherDirectories() {
  std::set<std::pair<HistoryId, VersionNumber>> pinned;
  RETURN_IF_ERROR(
      ForEachPage(d_.tree.catalog(), key::Table(key::kPin), [&](const RowPage& page) -> Status {
        for (const auto& [row_key, row] : page) {
          ASSIGN_OR_RETURN(const VersionNumber number, DecodePin(row));
          pinned.emplace(key::Id(row_key), number);
        }
        return Status();
      }));
  return ForEachPage(d_.tree.catalog(), key::Table(key::kDirectoryVersion),
                     [&](const RowPage& page) -> Status {
                       for (const auto& [row_key, row] : page) {
                         if (pinned.contains({key::Id(row_key), key::Number(row_key)})) continue;
                         ASSIGN_OR_RETURN(const DirectoryVersionRecord record,
                                          DirectoryVersionRecord::Decode(row));
                         versions_.push_back({row_key, row, record.capture_time, 0});
                       }
                       return Status();
                     });
}

Result<uint64_t> CollectOldest::BytesOf(size_t count,
                                        const std::function<void(const CollectContents&)>& look) {
  std::unordered_set<std::string> dropped;
  for (size_t i = 0; i < count; ++i) dropped.insert(versions_[i].row_key);
  CollectContents contents(d_, pause_);
  CollectSaved saved(d_.tree, dropped, pause_);
  RETURN_IF_ERROR(saved.Run(/*apply=*/false).status());
  RETURN_IF_ERROR(contents.Mark(dropped, saved.rows()));
  RETURN_IF_ERROR(contents.Sweep(/*apply=*/false).status());
  CollectChunks chunks(d_.tree.catalog(), d_.contents, pause_);
  RETURN_IF_ERROR(chunks.Mark([&](ContentId content) { return contents.IsDead(content); }));
  ASSIGN_OR_RETURN(const CollectChunks::Removed removed, chunks.Sweep(/*apply=*/false));
  if (look) look(contents);
  return removed.bytes;
}

}  // namespace varve
