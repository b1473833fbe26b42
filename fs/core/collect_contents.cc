#include "fs/core/collect_contents.h"

#include <utility>

#include "fs/core/content_references.h"
#include "fs/core/tensor_rows.h"

namespace varve {
namespace {

// So long others may wait for the tree: a few rows.
constexpr size_t kAtOnce = 16;
// Of a recipe; a content with more goes in several batches.
constexpr size_t kRowsAtOnce = 4096;

}  // namespace

CollectContents::CollectContents(const Dependencies& dependencies, std::function<bool()> pause)
    : d_(dependencies), pause_(std::move(pause)) {
  d_.tree.references().Start();
}

CollectContents::~CollectContents() { d_.tree.references().Stop(); }

Status CollectContents::Mark(const std::unordered_set<std::string>& dropped_versions,
                             const std::unordered_set<std::string>& dropped_saved) {
  ASSIGN_OR_RETURN(first_new_, d_.tree.NewId());
  RETURN_IF_ERROR(MarkTable(key::kInode, nullptr));
  RETURN_IF_ERROR(MarkTable(key::kVersion, &dropped_versions));
  RETURN_IF_ERROR(MarkTable(key::kSaved, &dropped_saved));
  RETURN_IF_ERROR(MarkBases());
  live_.Settle();
  return Status();
}

Status CollectContents::MarkTable(char table, const std::unordered_set<std::string>* dropped) {
  std::vector<ContentId> named;
  return ForEachPage(d_.tree.catalog(), key::Table(table), [&](const RowPage& page) -> Status {
    named.clear();
    for (const auto& [row_key, row] : page)
      if (dropped == nullptr || !dropped->contains(row_key))
        AppendNamedContents(row_key, row, &named);
    for (const ContentId content : named) live_.Add(content);
    return pause_() ? Status() : Status(Code::kBusy, "the collection was stopped");
  });
}

// A content that is not stored yet needs its base, or falls back to it after a power
// cut; and through it to the base's, as far as the first that is durable.
Status CollectContents::MarkBases() {
  return ForEachPage(
      d_.tree.catalog(), key::Table(key::kContent), [&](const RowPage& page) -> Status {
        for (const auto& [row_key, row] : page) {
          ASSIGN_OR_RETURN(ContentRecord record, ContentRecord::Decode(row));
          const bool needs_base = !record.stored || record.torn;
          if (!record.stored) live_.Add(key::Id(row_key));
          if (needs_base && record.base != 0) live_.Add(record.base);
          if (needs_base && record.replaced != 0) live_.Add(record.replaced);
        }
        return pause_() ? Status() : Status(Code::kBusy, "the collection was stopped");
      });
}

Result<CollectContents::Removed> CollectContents::Sweep(bool apply) {
  const Status walked =
      ForEachPage(d_.tree.catalog(), key::Table(key::kContent), [&](const RowPage& page) -> Status {
        RETURN_IF_ERROR(SweepPage(page, apply));
        return pause_() ? Status() : Status(Code::kBusy, "the collection was stopped");
      });
  RETURN_IF_ERROR(walked);
  dead_.Settle();
  return removed_;
}

Status CollectContents::SweepPage(const RowPage& page, bool apply) {
  std::vector<ContentId> candidates;
  for (const auto& [row_key, row] : page) {
    const ContentId content = key::Id(row_key);
    if (content >= first_new_ || live_.Has(content)) continue;
    ASSIGN_OR_RETURN(const ContentRecord record, ContentRecord::Decode(row));
    removed_.bytes += apply ? 0 : record.size_bytes;
    removed_.contents += apply ? 0 : 1;
    candidates.push_back(content);
    dead_.Add(content);
  }
  if (!apply) return Status();
  for (size_t begin = 0; begin < candidates.size(); begin += kAtOnce) {
    const size_t end = std::min(begin + kAtOnce, candidates.size());
    Batch batch;
    std::vector<StageId> stages;
    {
      MutexLock lock(d_.tree.mutex());
      for (size_t i = begin; i < end; ++i) {
        ASSIGN_OR_RETURN(const bool removed, RemoveLocked(candidates[i], &batch, &stages));
        if (removed) ++removed_.contents;
      }
      if (batch.empty()) continue;
      RETURN_IF_ERROR(d_.tree.Apply(batch));
      d_.files.RemoveStages(stages);
    }
    for (const ContentId content : std::exchange(long_, {})) RETURN_IF_ERROR(RemoveLong(content));
  }
  return Status();
}

Result<bool> CollectContents::RemoveLocked(ContentId content, Batch* batch,
                                           std::vector<StageId>* stages) {
  ASSIGN_OR_RETURN(const std::optional<std::string> row,
                   d_.tree.catalog().Get(key::Content(content)));
  if (!row) return false;
  ASSIGN_OR_RETURN(const ContentRecord record, ContentRecord::Decode(*row));
  // Somebody named it meanwhile, reads it, or has its file open.
  if (!record.stored || d_.tree.references().Has(content) || d_.contents.IsRead(content))
    return false;
  const std::shared_ptr<OpenFile> file = d_.files.FindLocked(record.inode);
  if (file && (file->content == content || file->copy == content)) return false;
  size_t rows = 0;
  const key::Range recipe = key::AllRecipe(content);
  RETURN_IF_ERROR(d_.tree.catalog().Scan(recipe.begin, recipe.end,
                                         [&](std::string_view row_key, std::string_view) {
                                           batch->Delete(std::string(row_key));
                                           return ++rows < kRowsAtOnce;
                                         }));
  RETURN_IF_ERROR(AppendTensorMapRemoval(d_.tree.catalog(), content, batch));
  if (rows < kRowsAtOnce) {
    batch->Delete(key::Content(content));
  } else {
    // Nothing is left of it; the next collection goes on if this one does not end.
    ContentRecord torn = record;
    torn.torn = true;
    torn.stage = 0;
    Tree::PutContent(content, torn, batch);
    long_.push_back(content);
  }
  if (record.stage != 0) {
    batch->Delete(key::Stage(record.stage));
    stages->push_back(record.stage);
    d_.hot.Remove(content);
  }
  removed_.bytes += record.size_bytes;
  return true;
}

// The rest of a long recipe, which nobody can name any more.
Status CollectContents::RemoveLong(ContentId content) {
  RETURN_IF_ERROR(
      ForEachPage(d_.tree.catalog(), key::AllRecipe(content), [&](const RowPage& page) -> Status {
        Batch batch;
        for (const auto& [row_key, row] : page) batch.Delete(row_key);
        return d_.tree.catalog().Apply(batch);
      }));
  Batch batch;
  batch.Delete(key::Content(content));
  return d_.tree.catalog().Apply(batch);
}

}  // namespace varve
