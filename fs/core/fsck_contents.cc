// Gathering: one pass over each table that has to do with contents.

#include "fs/core/fsck_contents.h"

#include <fmt/format.h>

#include <algorithm>

#include "fs/core/content_recipe.h"
#include "fs/core/extent_map.h"
#include "fs/core/recovery.h"

namespace varve {

Status ContentCheck::Run() {
  context_.Progress("checking contents", 0, 0);
  ASSIGN_OR_RETURN(power_was_cut_, PowerWasCut(context_.d.catalog, context_.d.disk.PowerEpoch()));
  RETURN_IF_ERROR(Load());
  RETURN_IF_ERROR(ScanRecipes());
  RETURN_IF_ERROR(ScanExtents());
  RETURN_IF_ERROR(ScanStages());
  RETURN_IF_ERROR(ScanCounters());
  SeeBases();
  SeeInodes();
  RETURN_IF_ERROR(ScanVersions());
  RETURN_IF_ERROR(ScanSaved());
  return Judge();
}

Status ContentCheck::Load() {
  return context_.ScanTable(key::kContent, [&](std::string_view row_key, std::string_view row) {
    const Result<ContentRecord> record = ContentRecord::Decode(row);
    if (!record.ok()) return;
    ContentFacts facts;
    facts.content = key::Id(row_key);
    facts.base = record->base;
    facts.inode = record->inode;
    facts.stage = record->stage;
    facts.size_bytes = record->size_bytes;
    facts.captured = record->captured;
    facts.stored = record->stored;
    facts.durable = record->durable;
    facts.overlay = record->overlay;
    facts.torn = record->torn;
    facts.purged = record->purged;
    facts.known_loss = !record->complete && record->incomplete_reason.starts_with(kLossReason);
    facts_.push_back(facts);
  });
}

ContentFacts* ContentCheck::Find(ContentId content) {
  const auto found = std::lower_bound(
      facts_.begin(), facts_.end(), content,
      [](const ContentFacts& facts, ContentId wanted) { return facts.content < wanted; });
  return found != facts_.end() && found->content == content ? &*found : nullptr;
}

Status ContentCheck::ScanRecipes() {
  ContentId content = 0;
  ContentFacts* facts = nullptr;
  return context_.ScanTable(key::kRecipe, [&](std::string_view row_key, std::string_view row) {
    if (key::Id(row_key) != content) facts = Find(content = key::Id(row_key));
    const uint64_t end = key::Offset(row_key);
    if (facts != nullptr) {
      SeeSegment(facts, end, row);
      return;
    }
    StrayRecipe& stray = stray_recipes_[content];
    const Result<RecipeSegment> segment = DecodeSegment(end, row);
    stray.whole = stray.whole && segment.ok() && segment->begin_bytes == stray.end;
    stray.end = end;
  });
}

void ContentCheck::SeeSegment(ContentFacts* facts, uint64_t end, std::string_view row) {
  if (!facts->stored) return;  // what an unfinished digest left; the next one removes it
  const Result<RecipeSegment> segment = DecodeSegment(end, row);
  if (!segment.ok()) return;
  if (segment->begin_bytes != facts->recipe_end) facts->recipe_broken = true;
  facts->recipe_end = end;
  uint64_t position = segment->begin_bytes;
  for (const Piece& piece : segment->pieces) {
    if (!piece.hole()) {
      const ChunkTable::Presence presence = chunks_.Find(piece.id, piece.size_bytes);
      if (presence == ChunkTable::Presence::kNoRow) rowless_chunks_.push_back(piece.id);
      if (presence == ChunkTable::Presence::kLost) {
        if (facts->lost_bytes == 0) facts->lost_begin = position;
        facts->lost_bytes += piece.size_bytes;
      }
    }
    position += piece.size_bytes;
  }
}

Status ContentCheck::ScanExtents() {
  ContentId content = 0;
  ContentFacts* facts = nullptr;
  return context_.ScanTable(key::kExtent, [&](std::string_view row_key, std::string_view row) {
    if (key::Id(row_key) != content) facts = Find(content = key::Id(row_key));
    if (facts == nullptr || !facts->overlay) {
      stray_extents_.push_back({std::string(row_key), std::nullopt});
      return;
    }
    const Result<uint64_t> end = DecodeOffset(row);
    const uint64_t begin = key::Offset(row_key);
    if (!end.ok()) return;
    if (begin == key::kBaseShown) {
      facts->base_shown = true;
      return;
    }
    // Those since the last flush may overlap the others.
    uint64_t& last_end = key::IsFreshExtent(row_key) ? facts->fresh_end : facts->extent_end;
    if (begin < last_end) facts->extents_broken = true;
    last_end = std::max(last_end, *end);
  });
}

Status ContentCheck::ScanStages() {
  RETURN_IF_ERROR(
      context_.ScanTable(key::kStage, [&](std::string_view row_key, std::string_view row) {
        if (row.size() != sizeof(uint64_t)) return;
        const StageRow staged{key::Id(row_key), ByteReader(row).U64()};
        stage_rows_.push_back(staged);
        ContentFacts* facts = Find(staged.content);
        if (facts != nullptr && facts->stage == staged.stage) facts->stage_row = true;
      }));
  ASSIGN_OR_RETURN(stage_files_, context_.d.stages.List());
  std::sort(stage_files_.begin(), stage_files_.end());
  return Status();
}

bool ContentCheck::StageFileExists(StageId stage) const {
  return std::binary_search(stage_files_.begin(), stage_files_.end(), stage);
}

Status ContentCheck::ScanCounters() {
  RETURN_IF_ERROR(
      context_.ScanTable(key::kName, [&](std::string_view row_key, std::string_view row) {
        const Result<NameRecord> record = NameRecord::Decode(row);
        if (!record.ok()) return;
        counters_.push_back(
            {HashOfName(context_.d.fingerprinter, key::Id(row_key), key::NameOf(row_key)),
             record->last_version});
      }));
  std::sort(counters_.begin(), counters_.end(),
            [](const Counters& a, const Counters& b) { return a.hash < b.hash; });
  return Status();
}

VersionNumber ContentCheck::LastVersion(HistoryId history, std::string_view name) const {
  const uint64_t hash = HashOfName(context_.d.fingerprinter, history, name);
  const auto found = std::lower_bound(
      counters_.begin(), counters_.end(), hash,
      [](const Counters& counters, uint64_t wanted) { return counters.hash < wanted; });
  return found != counters_.end() && found->hash == hash ? found->last_version : 0;
}

Status ContentCheck::ScanVersions() {
  FsckReport& report = context_.report();
  report.versions = 0;
  return context_.ScanTable(key::kVersion, [&](std::string_view row_key, std::string_view row) {
    const Result<VersionRecord> version = VersionRecord::Decode(row);
    if (!version.ok()) return;
    ++report.versions;
    SeeVersion(row_key, *version);
  });
}

void ContentCheck::SeeVersion(std::string_view row_key, const VersionRecord& version) {
  const std::string_view name = row_key.substr(9, row_key.size() - 9 - 5);
  const HistoryId history = key::Id(row_key);
  const VersionNumber number = key::Number(row_key);
  if (number > LastVersion(history, name)) version_faults_.push_back({std::string(row_key)});
  if (version.content == 0) return;
  ContentFacts* facts = Find(version.content);
  if (facts == nullptr) {
    if (missing_ids_.insert(version.content).second)
      missing_.push_back({version.content, version.inode, version.size_bytes,
                          fmt::format("version {} of \"{}\"", number, name)});
    return;
  }
  facts->needed = true;
  if (!facts->stored) return;
  if (!facts->lossless())
    versions_of_damaged_.try_emplace(facts->content,
                                     fmt::format("version {} of \"{}\"", number, name));
}

// What captured directories show.
Status ContentCheck::ScanSaved() {
  return context_.ScanTable(key::kSaved, [&](std::string_view row_key, std::string_view row) {
    if (key::SavedKey(row_key)[0] != key::kInode) return;
    const Result<SavedRow> saved = SavedRow::Decode(row);
    if (!saved.ok() || !saved->row) return;
    const Result<InodeRecord> inode = InodeRecord::Decode(*saved->row);
    if (!inode.ok() || inode->content == 0) return;
    if (ContentFacts* facts = Find(inode->content); facts != nullptr) {
      facts->needed = true;
    } else if (missing_ids_.insert(inode->content).second) {
      missing_.push_back({inode->content, key::Id(key::SavedKey(row_key)), inode->size_bytes,
                          fmt::format("a captured directory (as \"{}\")", inode->name)});
    }
  });
}

void ContentCheck::SeeInodes() {
  for (const InodeFacts& inode : inodes_.all()) {
    if (inode.content == 0) continue;
    if (ContentFacts* facts = Find(inode.content); facts != nullptr) {
      facts->needed = true;
    } else if (missing_ids_.insert(inode.content).second) {
      missing_.push_back({inode.content, inode.inode, inode.size_bytes, ""});
    }
  }
}

void ContentCheck::SeeBases() {
  for (const ContentFacts& facts : facts_) {
    if (facts.stored || !facts.overlay) continue;
    if (ContentFacts* base = Find(facts.base); base != nullptr) base->needed = true;
  }
}

}  // namespace varve
