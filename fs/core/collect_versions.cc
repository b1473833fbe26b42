#include "fs/core/collect_versions.h"

#include "fs/core/directory_history.h"

namespace varve {
namespace {

constexpr size_t kBatchRows = 256;
constexpr size_t kNumberBytes = 4;

Status Stopped() { return Status(Code::kBusy, "the collection was stopped"); }

}  // namespace

Result<CollectVersions::Dropped> CollectVersions::Run(bool apply) {
  apply_ = apply;
  CollectRules rules(tree_);
  RETURN_IF_ERROR(rules.Load());
  RETURN_IF_ERROR(RunFiles(rules));
  RETURN_IF_ERROR(RunDirectories(rules));
  RETURN_IF_ERROR(Flush());
  return dropped_;
}

Status CollectVersions::RunFiles(CollectRules& rules) {
  std::string name;  // of the rows that are gathered: their key without the number
  std::vector<Version> versions;
  const auto judge = [&]() -> Status {
    if (versions.empty()) return Status();
    ASSIGN_OR_RETURN(const RetentionRule rule, rules.OfHistory(key::Id(name)));
    RETURN_IF_ERROR(JudgeName(rule, versions));
    versions.clear();
    return Status();
  };
  const Status walked =
      ForEachPage(tree_.catalog(), key::Table(key::kVersion), [&](const RowPage& page) -> Status {
        for (const auto& [row_key, row] : page) {
          ASSIGN_OR_RETURN(const VersionRecord record, VersionRecord::Decode(row));
          if (row_key.compare(0, row_key.size() - kNumberBytes, name) != 0) {
            RETURN_IF_ERROR(judge());
            name = row_key.substr(0, row_key.size() - kNumberBytes);
          }
          versions.push_back({row_key,
                              row,
                              {key::Number(row_key), record.capture_time.tv_sec},
                              record.inode,
                              record.content});
        }
        return pause_() ? Status() : Stopped();
      });
  RETURN_IF_ERROR(walked);
  return judge();
}

Status CollectVersions::JudgeName(const RetentionRule& rule, const std::vector<Version>& versions) {
  std::vector<RetentionRule::Candidate> candidates;
  candidates.reserve(versions.size());
  for (const Version& version : versions) candidates.push_back(version.candidate);
  const std::vector<bool> kept = rule.Keeps(candidates, now_s_);
  for (size_t i = 0; i < versions.size(); ++i) {
    if (kept[i]) continue;
    if (i + 1 == versions.size()) {
      ASSIGN_OR_RETURN(const bool live, IsLive(versions[i]));
      if (live) continue;
    }
    ++dropped_.files;
    RETURN_IF_ERROR(Drop(versions[i]));
  }
  return Status();
}

Result<bool> CollectVersions::IsLive(const Version& version) {
  const Result<InodeRecord> record = tree_.Inode(version.inode);
  if (!record.ok() && record.status().os_errno() == ESTALE) return false;
  RETURN_IF_ERROR(record.status());
  return record->links > 0 && record->content == version.content;
}

Status CollectVersions::RunDirectories(CollectRules& rules) {
  HistoryId list = 0;
  std::vector<Version> versions;
  const Status walked = ForEachPage(
      tree_.catalog(), key::Table(key::kDirectoryVersion), [&](const RowPage& page) -> Status {
        for (const auto& [row_key, row] : page) {
          ASSIGN_OR_RETURN(const DirectoryVersionRecord record,
                           DirectoryVersionRecord::Decode(row));
          if (key::Id(row_key) != list) {
            RETURN_IF_ERROR(JudgeList(rules, list, versions));
            versions.clear();
            list = key::Id(row_key);
          }
          versions.push_back(
              {row_key, row, {key::Number(row_key), record.capture_time.tv_sec}, record.inode, 0});
        }
        return pause_() ? Status() : Stopped();
      });
  RETURN_IF_ERROR(walked);
  return JudgeList(rules, list, versions);
}

Status CollectVersions::JudgeList(CollectRules& rules, HistoryId list,
                                  const std::vector<Version>& versions) {
  if (versions.empty()) return Status();
  ASSIGN_OR_RETURN(const RetentionRule rule, rules.OfList(list));
  std::vector<RetentionRule::Candidate> candidates;
  candidates.reserve(versions.size());
  for (const Version& version : versions) candidates.push_back(version.candidate);
  const std::vector<bool> kept = rule.Keeps(candidates, now_s_);
  // A pin that is made from now on is one of a version that is made from now on.
  std::unordered_set<VersionNumber> pinned;
  RETURN_IF_ERROR(
      ForEachPage(tree_.catalog(), key::AllPins(list), [&](const RowPage& page) -> Status {
        for (const auto& [row_key, row] : page) {
          ASSIGN_OR_RETURN(const VersionNumber number, DecodePin(row));
          pinned.insert(number);
        }
        return Status();
      }));
  for (size_t i = 0; i < versions.size(); ++i) {
    if (kept[i] || pinned.contains(versions[i].candidate.number)) continue;
    ++dropped_.directories;
    RETURN_IF_ERROR(Drop(versions[i]));
  }
  return Status();
}

Status CollectVersions::Drop(const Version& version) {
  if (!apply_) {
    rows_.insert(version.row_key);
    return Status();
  }
  batch_.emplace_back(version.row_key, version.row);
  return batch_.size() < kBatchRows ? Status() : Flush();
}

Status CollectVersions::Flush() { return DropUnchanged(tree_, std::exchange(batch_, {})); }

Status DropUnchanged(Tree& tree, const RowPage& rows) {
  Batch batch;
  MutexLock lock(tree.mutex());
  for (const auto& [row_key, row] : rows) {
    ASSIGN_OR_RETURN(const std::optional<std::string> now, tree.catalog().Get(row_key));
    if (now == row) batch.Delete(row_key);
  }
  return batch.empty() ? Status() : tree.Apply(batch);
}

}  // namespace varve
