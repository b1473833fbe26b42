#include "fs/core/collect_rules.h"

#include <vector>

#include "fs/core/row_pages.h"
#include "store/base/log.h"

namespace varve {
namespace {

// Deeper than any path; ends a circle in a damaged index.
constexpr int kDepthMax = 1 << 16;

}  // namespace

Status CollectRules::Load() {
  RETURN_IF_ERROR(LoadDirectories());
  return LoadNames();
}

Status CollectRules::LoadDirectories() {
  return ForEachPage(tree_.catalog(), key::Table(key::kInode), [&](const RowPage& page) -> Status {
    for (const auto& [row_key, row] : page) {
      ASSIGN_OR_RETURN(const InodeRecord record, InodeRecord::Decode(row));
      if (!S_ISDIR(record.mode) || record.links == 0) continue;
      directories_[key::Id(row_key)] = {record.parent, record.history};
      live_[record.history] = key::Id(row_key);
    }
    return Status();
  });
}

Status CollectRules::LoadNames() {
  return ForEachPage(tree_.catalog(), key::Table(key::kName), [&](const RowPage& page) -> Status {
    for (const auto& [row_key, row] : page) {
      ASSIGN_OR_RETURN(const NameRecord record, NameRecord::Decode(row));
      const HistoryId history = key::Id(row_key);
      if (record.child_history != 0) waiting_[record.child_history] = history;
      if (record.directory_versions != 0)
        lists_[record.directory_versions] = {history, std::string(key::NameOf(row_key))};
    }
    return Status();
  });
}

Result<RetentionRule> CollectRules::OfDirectory(InodeNumber directory) {
  std::vector<InodeNumber> way;
  RetentionRule rule = RetentionRule::Default();
  for (InodeNumber at = directory; way.size() < kDepthMax;) {
    if (const auto known = known_.find(at); known != known_.end()) {
      rule = known->second;
      break;
    }
    way.push_back(at);
    ASSIGN_OR_RETURN(const std::optional<std::string> text,
                     tree_.catalog().Get(key::Xattr(at, kKeepAttribute)));
    if (text) {
      const Result<RetentionRule> parsed = RetentionRule::Parse(*text);
      if (parsed.ok()) {
        rule = *parsed;
        break;
      }
      LogWarning("{}: {}; what holds above is used", tree_.PathOf(at), parsed.status().ToString());
    }
    const auto record = directories_.find(at);
    if (at == kRootNode || record == directories_.end()) break;
    at = record->second.parent;
  }
  for (const InodeNumber passed : way) known_.emplace(passed, rule);
  return rule;
}

Result<RetentionRule> CollectRules::OfHistory(HistoryId history) {
  for (int depth = 0; depth < kDepthMax; ++depth) {
    if (const auto live = live_.find(history); live != live_.end())
      return OfDirectory(live->second);
    const auto waiting = waiting_.find(history);
    if (waiting == waiting_.end()) break;
    history = waiting->second;
  }
  return OfDirectory(kRootNode);
}

Result<bool> CollectRules::HasName(HistoryId history, std::string_view name) {
  const auto live = live_.find(history);
  if (live == live_.end()) return false;
  ASSIGN_OR_RETURN(const std::optional<NamedEntry> entry, tree_.Find(live->second, name));
  return entry.has_value();
}

Result<RetentionRule> CollectRules::OfList(HistoryId list) {
  const auto owner = lists_.find(list);
  if (owner == lists_.end()) return OfDirectory(kRootNode);
  const auto live = live_.find(owner->second.history);
  if (live == live_.end()) return OfHistory(owner->second.history);
  if (owner->second.name == ".") return OfDirectory(live->second);  // the root's own
  ASSIGN_OR_RETURN(const std::optional<NamedEntry> entry,
                   tree_.Find(live->second, owner->second.name));
  if (entry && S_ISDIR(entry->record.type)) return OfDirectory(entry->record.inode);
  return OfDirectory(live->second);
}

}  // namespace varve
