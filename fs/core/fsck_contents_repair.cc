// Repairing contents.

#include <fmt/format.h>

#include <algorithm>

#include "fs/core/content_recipe.h"
#include "fs/core/extent_map.h"
#include "fs/core/fsck_contents.h"
#include "fs/core/history_writer.h"
#include "fs/core/recovery.h"

namespace varve {
namespace {

// Stands for bytes that are lost. No store has a chunk of that name.
ChunkId LostChunk() {
  ChunkId id;
  id.bytes.fill(0xff);
  return id;
}

void PutLost(ContentId content, ByteRange range, Batch* batch) {
  RecipeWriter writer;
  for (uint64_t left = range.end - range.begin; left > 0;) {
    const uint64_t size = std::min<uint64_t>(left, kChunkBytesMax);
    writer.Add({size, LostChunk()});
    left -= size;
    while (const auto row = writer.Take(left == 0))
      batch->Put(key::Recipe(content, range.begin + row->end_bytes), row->value);
  }
}

}  // namespace

// Keeps the segments that join, and lets lost chunks stand for what is between.
Status ContentCheck::FillGaps(ContentId content, uint64_t size_bytes, Batch* batch) {
  std::vector<ByteRange> segments;
  const key::Range range = key::AllRecipe(content);
  RETURN_IF_ERROR(context_.d.catalog.Scan(
      range.begin, range.end, [&](std::string_view row_key, std::string_view row) {
        const uint64_t end = key::Offset(row_key);
        const Result<RecipeSegment> segment = DecodeSegment(end, row);
        segments.push_back({segment.ok() ? segment->begin_bytes : end, end});
        return true;
      }));
  uint64_t position = 0;
  for (const ByteRange& segment : segments) {
    if (segment.begin < position || segment.begin == segment.end || segment.end > size_bytes) {
      batch->Delete(key::Recipe(content, segment.end));
      continue;
    }
    PutLost(content, {position, segment.begin}, batch);
    position = segment.end;
  }
  PutLost(content, {position, size_bytes}, batch);
  return Status();
}

Status ContentCheck::AcceptLoss(const ContentFacts& facts) {
  ASSIGN_OR_RETURN(ContentRecord record, context_.d.tree.Content(facts.content));
  Batch batch;
  if (!record.stored) {
    const InodeFacts* inode = inodes_.Find(record.inode);
    if (inode != nullptr && inode->content == facts.content)
      record.size_bytes = std::max(record.size_bytes, inode->size_bytes);
    if (facts.stage_row) batch.Delete(key::Stage(record.stage));
    RETURN_IF_ERROR(AppendDeletion(key::AllExtents(facts.content), &batch));
    // Of a digest that was never finished, perhaps of bytes that were changed later.
    RETURN_IF_ERROR(AppendDeletion(key::AllRecipe(facts.content), &batch));
    PutLost(facts.content, {0, record.size_bytes}, &batch);
    record.stage = 0;
    record.overlay = false;
    record.torn = record.size_bytes == 0;
  } else {
    RETURN_IF_ERROR(FillGaps(facts.content, record.size_bytes, &batch));
  }
  record.captured = record.stored = record.durable = true;
  record.complete = false;
  record.incomplete_reason =
      fmt::format("{}{} of its {} bytes are lost", kLossReason,
                  facts.recipe_whole() && facts.stored ? std::to_string(facts.lost_bytes) : "some",
                  record.size_bytes);
  Tree::PutContent(facts.content, record, &batch);
  return context_.Apply(batch);
}

Result<bool> ContentCheck::HotCopyIsGood(const ContentFacts& facts) {
  if (facts.stage == 0 || !facts.stage_row || facts.overlay || power_was_cut_) return false;
  const Result<std::shared_ptr<File>> file = context_.d.stages.Open(facts.stage, OpenMode::kRead);
  if (!file.ok()) return false;
  ASSIGN_OR_RETURN(const struct stat stat, (*file)->Stat());
  return static_cast<uint64_t>(stat.st_size) == facts.size_bytes;
}

// The staging file of a stored content is its hot copy: all of its bytes.
Status ContentCheck::StoreAgain(const ContentFacts& facts) {
  ASSIGN_OR_RETURN(ContentRecord record, context_.d.tree.Content(facts.content));
  const Result<InodeRecord> inode = context_.d.tree.Inode(record.inode);
  if (inode.ok() && inode->content == facts.content) {
    // Until it is stored again, the staging file's time is the file's.
    ASSIGN_OR_RETURN(const std::shared_ptr<File> file,
                     context_.d.stages.Open(facts.stage, OpenMode::kReadWrite));
    const struct timespec times[2] = {inode->access_time, inode->modify_time};
    RETURN_IF_ERROR(file->SetTimes(times));
  }
  record.captured = true;
  record.stored = record.durable = false;
  Batch batch;
  Tree::PutContent(facts.content, record, &batch);
  return context_.Apply(batch);
}

Status ContentCheck::DeclareWhole(const ContentFacts& facts) {
  ASSIGN_OR_RETURN(ContentRecord record, context_.d.tree.Content(facts.content));
  record.complete = true;
  record.incomplete_reason.clear();
  Batch batch;
  Tree::PutContent(facts.content, record, &batch);
  return context_.Apply(batch);
}

Status ContentCheck::RestoreRecord(const Missing& missing) {
  ContentRecord record;
  record.captured = true;
  record.shared = true;  // it may be: nothing says that it is not
  record.inode = missing.inode;
  record.size_bytes = missing.size_bytes;
  Batch batch;
  const auto recipe = stray_recipes_.find(missing.content);
  if (recipe != stray_recipes_.end() && recipe->second.whole &&
      recipe->second.end == missing.size_bytes) {
    record.stored = record.durable = true;
    Tree::PutContent(missing.content, record, &batch);
    return context_.Apply(batch);
  }
  const bool overlay = std::any_of(
      stray_extents_.begin(), stray_extents_.end(),
      [&](const Batch::Change& extent) { return key::Id(extent.key) == missing.content; });
  for (const StageRow& row : stage_rows_) {
    if (row.content != missing.content) continue;
    if (overlay || !StageFileExists(row.stage)) {
      batch.Delete(key::Stage(row.stage));
    } else {
      record.stage = row.stage;
    }
  }
  if (record.stage == 0) {
    RETURN_IF_ERROR(FillGaps(missing.content, missing.size_bytes, &batch));
    record.stored = record.durable = true;
    record.torn = missing.size_bytes == 0;
    record.complete = false;
    record.incomplete_reason = fmt::format("{}the record of its bytes was lost", kLossReason);
  }
  Tree::PutContent(missing.content, record, &batch);
  return context_.Apply(batch);
}

Status ContentCheck::FixVersion(const VersionFault& fault) {
  Catalog& catalog = context_.d.catalog;
  const std::string_view name =
      std::string_view(fault.row_key).substr(9, fault.row_key.size() - 9 - 5);
  Batch batch;
  const std::string name_key = key::Name(key::Id(fault.row_key), name);
  ASSIGN_OR_RETURN(const std::optional<std::string> row, catalog.Get(name_key));
  NameRecord counters;
  if (row) {
    ASSIGN_OR_RETURN(counters, NameRecord::Decode(*row));
  }
  counters.last_version = std::max(counters.last_version, key::Number(fault.row_key));
  batch.Put(name_key, counters.Encode());
  return context_.Apply(batch);
}

Status ContentCheck::AppendDeletion(const key::Range& range, Batch* batch) {
  return context_.d.catalog.Scan(range.begin, range.end,
                                 [&](std::string_view row_key, std::string_view) {
                                   batch->Delete(std::string(row_key));
                                   return true;
                                 });
}

Status ContentCheck::RewriteExtents(ContentId content) {
  ExtentMap extents;
  Batch batch;
  const key::Range range = key::AllExtents(content);
  RETURN_IF_ERROR(context_.d.catalog.Scan(range.begin, range.end,
                                          [&](std::string_view row_key, std::string_view row) {
                                            const Result<uint64_t> end = DecodeOffset(row);
                                            const uint64_t begin = key::Offset(row_key);
                                            if (!end.ok() || begin == key::kBaseShown) return true;
                                            ExtentMap::Change change;
                                            if (extents.Plan({begin, *end}, &change))
                                              extents.Apply(change);
                                            batch.Delete(std::string(row_key));
                                            return true;
                                          }));
  for (const ByteRange& extent : extents.All())
    batch.Put(key::Extent(content, extent.begin), EncodeOffset(extent.end));
  return context_.Apply(batch);
}

// Recovery knows what a path shows whose staging file is gone. It also removes
// the staging files that nothing names.
Status ContentCheck::FallBackAndReap() {
  if (fall_back_) {
    HistoryWriter history(context_.d.tree);
    RETURN_IF_ERROR(context_.Commit());
    return Recover(context_.d.tree, context_.d.stages, history, context_.d.disk.PowerEpoch())
        .status();
  }
  std::vector<StageId> strays;
  std::vector<StageId> rows;
  RETURN_IF_ERROR(context_.ScanTable(key::kStage, [&](std::string_view row_key, std::string_view) {
    rows.push_back(key::Id(row_key));
  }));
  std::set_difference(stage_files_.begin(), stage_files_.end(), rows.begin(), rows.end(),
                      std::back_inserter(strays));
  if (strays.empty()) return Status();
  RETURN_IF_ERROR(context_.Commit());
  context_.d.stages.Reap(strays);
  return Status();
}

}  // namespace varve
