#include "fs/core/collect_saved.h"

#include "fs/core/past_roots.h"
#include "fs/core/row_pages.h"

namespace varve {
namespace {

constexpr size_t kBatchRows = 256;

}  // namespace

Result<uint64_t> CollectSaved::Run(bool apply) {
  PastRoots roots(tree_.catalog());
  RETURN_IF_ERROR(roots.AddVersions(dropped_));
  RETURN_IF_ERROR(roots.AddClones());
  RETURN_IF_ERROR(roots.AddClonesOfThePast());
  Moment now = 0;
  {
    // What is saved from now on is for versions that nobody has judged.
    MutexLock lock(tree_.mutex());
    now = tree_.now();
  }
  uint64_t dropped = 0;
  std::string key;
  Moment since = 0;  // when what the next saved row of `key` tells began
  const key::Range table = key::Table(key::kSaved);
  const Status walked = ForEachPage(tree_.catalog(), table, [&](const RowPage& page) -> Status {
    for (const auto& [row_key, row] : page) {
      const std::string_view of = key::SavedKey(row_key);
      if (of != key) {
        key = of;
        since = 0;
      }
      const Moment until = key::SavedUntil(row_key);
      const Moments when{std::exchange(since, until), until};
      if (until >= now) continue;
      ASSIGN_OR_RETURN(const SavedRow saved, SavedRow::Decode(row));
      ASSIGN_OR_RETURN(const bool needed, roots.LeadTo(key, saved.row, when));
      if (needed) continue;
      ++dropped;
      RETURN_IF_ERROR(Drop(row_key, apply));
    }
    return pause_() ? Status() : Status(Code::kBusy, "the collection was stopped");
  });
  RETURN_IF_ERROR(walked);
  RETURN_IF_ERROR(Flush());
  return dropped;
}

Status CollectSaved::Drop(const std::string& row_key, bool apply) {
  if (!apply) {
    rows_.insert(row_key);
    return Status();
  }
  batch_.Delete(row_key);
  return batch_.changes().size() < kBatchRows ? Status() : Flush();
}

Status CollectSaved::Flush() {
  if (batch_.empty()) return Status();
  MutexLock lock(tree_.mutex());
  return tree_.Apply(std::exchange(batch_, Batch()));
}

}  // namespace varve
