// Judging contents: what is wrong, in sentences, and what a repair does about it.

#include <fmt/format.h>

#include "fs/core/fsck_contents.h"
#include "fs/core/recovery.h"

namespace varve {

Status ContentCheck::Judge() {
  RETURN_IF_ERROR(RestoreChunkRows());
  RETURN_IF_ERROR(JudgeMissing());
  for (ContentFacts& facts : facts_)
    RETURN_IF_ERROR(facts.stored ? JudgeStored(facts) : JudgeStaged(facts));
  RETURN_IF_ERROR(JudgeStageRows());
  RETURN_IF_ERROR(JudgeExtents());
  RETURN_IF_ERROR(JudgeVersions());
  RETURN_IF_ERROR(JudgeSizes());
  Summarise();
  return context_.repair() ? FallBackAndReap() : Status();
}

std::string ContentCheck::Describe(const ContentFacts& facts) {
  if (const InodeFacts* inode = inodes_.Find(facts.inode);
      inode != nullptr && inode->content == facts.content)
    return context_.PathOf(facts.inode);
  const auto version = versions_of_damaged_.find(facts.content);
  if (version != versions_of_damaged_.end())
    return fmt::format("{} (content {})", version->second, facts.content);
  return fmt::format("an earlier content of {} (content {})", context_.PathOf(facts.inode),
                     facts.content);
}

Status ContentCheck::RestoreChunkRows() {
  if (rowless_chunks_.empty()) return Status();
  std::sort(rowless_chunks_.begin(), rowless_chunks_.end());
  rowless_chunks_.erase(std::unique(rowless_chunks_.begin(), rowless_chunks_.end()),
                        rowless_chunks_.end());
  context_.Found(fmt::format("{} chunks are in packs, and the index does not say where",
                             rowless_chunks_.size()),
                 "their places are written into the index");
  if (!context_.repair()) return Status();
  for (const ChunkId& id : rowless_chunks_) {
    Batch batch;
    chunks_.Restore(id, &batch);
    RETURN_IF_ERROR(context_.Apply(batch));
  }
  chunks_.Settle();
  return Status();
}

Status ContentCheck::JudgeStored(ContentFacts& facts) {
  // Its recipe is gone, or goes with the next collection.
  if (facts.purged) return Status();
  if (facts.overlay) {
    context_.Found(Describe(facts) + " is stored and an overlay at once", "it is stored");
    if (context_.repair()) {
      ASSIGN_OR_RETURN(ContentRecord record, context_.d.tree.Content(facts.content));
      record.overlay = false;
      Batch batch;
      Tree::PutContent(facts.content, record, &batch);
      RETURN_IF_ERROR(context_.Apply(batch));
    }
  }
  if (facts.known_loss && facts.recipe_whole()) {
    if (facts.lost_bytes > 0 || facts.torn) {
      ++known_losses_;
    } else if (context_.repair()) {
      context_.Note(Describe(facts) + " lacked bytes; they were written again, it is whole");
      RETURN_IF_ERROR(DeclareWhole(facts));
    }
  } else if (!facts.lossless()) {
    const std::string what = facts.recipe_whole()
                                 ? fmt::format("{} lacks {} bytes, the first of them at byte {}",
                                               Describe(facts), facts.lost_bytes, facts.lost_begin)
                                 : fmt::format("the recipe of {} does not make its {} bytes",
                                               Describe(facts), facts.size_bytes);
    ASSIGN_OR_RETURN(const bool good, HotCopyIsGood(facts));
    if (good) {
      context_.Found(what, "it is stored again, from its staging file, at the next mount");
      return context_.repair() ? StoreAgain(facts) : Status();
    }
    context_.Found(what, "it is marked incomplete; reading what it lacks is an I/O error");
    if (context_.repair()) RETURN_IF_ERROR(AcceptLoss(facts));
  }
  return facts.stage == 0 ? Status() : JudgeHotCopy(facts);
}

Status ContentCheck::JudgeHotCopy(ContentFacts& facts) {
  const bool present = StageFileExists(facts.stage);
  if (present && facts.stage_row) return Status();
  if (facts.stage_row) {
    context_.Note(
        fmt::format("the hot copy of {} is gone; its bytes are read from packs", Describe(facts)));
  } else {
    context_.Found(fmt::format("no row leads from staging file {:016x} back to {}", facts.stage,
                               Describe(facts)),
                   "the hot copy is given up; its bytes are read from packs");
  }
  if (!context_.repair()) return Status();
  ASSIGN_OR_RETURN(ContentRecord record, context_.d.tree.Content(facts.content));
  Batch batch;
  if (facts.stage_row) batch.Delete(key::Stage(facts.stage));
  record.stage = 0;
  Tree::PutContent(facts.content, record, &batch);
  return context_.Apply(batch);
}

std::string ContentCheck::WhyOverlayIsLost(const ContentFacts& facts) {
  const ContentFacts* base = Find(facts.base);
  if (base == nullptr) return "what it was changed from is gone";
  if (!base->stored) return "what it was changed from is not stored";
  if (!base->recipe_whole()) return "what it was changed from has a damaged recipe";
  if (!facts.base_shown) return "nothing says how much of what it was changed from it shows";
  return "";
}

Status ContentCheck::JudgeStaged(ContentFacts& facts) {
  std::string lost;
  if (facts.stage == 0) {
    lost = "it is neither stored nor staged";
  } else if (facts.overlay) {
    lost = WhyOverlayIsLost(facts);
  }
  if (lost.empty() && !facts.stage_row) {
    for (const StageRow& row : stage_rows_)
      if (row.stage == facts.stage) lost = "its staging file belongs to another content";
    if (lost.empty()) {
      context_.Found(fmt::format("no row leads from staging file {:016x} back to {}", facts.stage,
                                 Describe(facts)),
                     "the row is written anew");
      if (context_.repair()) {
        std::string value;
        ByteWriter(&value).U64(facts.content);
        Batch batch;
        batch.Put(key::Stage(facts.stage), std::move(value));
        RETURN_IF_ERROR(context_.Apply(batch));
      }
    }
  }
  if (!lost.empty()) {
    context_.Found(fmt::format("the bytes of {} are lost: {}", Describe(facts), lost),
                   "it is marked incomplete, and reading it is an I/O error");
    return context_.repair() ? AcceptLoss(facts) : Status();
  }
  if (!StageFileExists(facts.stage)) {
    fall_back_ = true;
    if (power_was_cut_ && !facts.durable) {
      context_.Note(
          fmt::format("a power cut took the bytes of {}; the next mount shows the newest "
                      "version that is durable",
                      Describe(facts)));
    } else {
      context_.Found(fmt::format("the staging file {:016x} of {} is gone, and it is not stored yet",
                                 facts.stage, Describe(facts)),
                     "the newest version before it is shown; if there is none, it is marked torn");
    }
    return Status();
  }
  ++(facts.captured ? pending_ : live_);
  pending_bytes_ += facts.size_bytes;
  return Status();
}

Status ContentCheck::JudgeMissing() {
  for (const ContentFacts& facts : facts_) {
    if (facts.stored || !facts.overlay || Find(facts.base) != nullptr) continue;
    const auto recipe = stray_recipes_.find(facts.base);
    if (recipe != stray_recipes_.end() && missing_ids_.insert(facts.base).second)
      missing_.push_back({facts.base, facts.inode, recipe->second.end, ""});
  }
  for (const Missing& missing : missing_) {
    const auto recipe = stray_recipes_.find(missing.content);
    const bool stored = recipe != stray_recipes_.end() && recipe->second.whole &&
                        recipe->second.end == missing.size_bytes;
    bool staged = false;
    for (const StageRow& row : stage_rows_)
      staged = staged || (row.content == missing.content && StageFileExists(row.stage));
    for (const Batch::Change& extent : stray_extents_)
      if (key::Id(extent.key) == missing.content) staged = false;  // half of it is elsewhere
    context_.Found(
        fmt::format("the record of content {}, which {} names, is gone", missing.content,
                    missing.named_by.empty() ? context_.PathOf(missing.inode) : missing.named_by),
        stored   ? "it is made anew from its recipe"
        : staged ? "it is made anew from its staging file"
                 : "it is marked incomplete, and reading it is an I/O error");
    if (context_.repair()) RETURN_IF_ERROR(RestoreRecord(missing));
  }
  return Status();
}

Status ContentCheck::JudgeStageRows() {
  uint64_t strays = 0;
  for (const StageId file : stage_files_) {
    const auto row = std::lower_bound(
        stage_rows_.begin(), stage_rows_.end(), file,
        [](const StageRow& staged, StageId wanted) { return staged.stage < wanted; });
    if (row == stage_rows_.end() || row->stage != file) ++strays;
  }
  if (strays > 0)
    context_.Note(
        fmt::format("{} staging files belong to nothing; {}", strays,
                    context_.repair() ? "they are removed" : "the next mount removes them"));
  for (const StageRow& row : stage_rows_) {
    if (missing_ids_.contains(row.content)) continue;
    const ContentFacts* facts = Find(row.content);
    if (facts != nullptr && facts->stage == row.stage) continue;
    context_.Found(
        fmt::format("the index says that staging file {:016x} belongs to content {}, "
                    "which {}",
                    row.stage, row.content, facts == nullptr ? "is gone" : "has another or none"),
        "the row is dropped");
    if (!context_.repair()) continue;
    Batch batch;
    batch.Delete(key::Stage(row.stage));
    RETURN_IF_ERROR(context_.Apply(batch));
  }
  return Status();
}

Status ContentCheck::JudgeExtents() {
  if (!stray_extents_.empty()) {
    context_.Found(fmt::format("{} extents belong to no overlay, the first to content {}",
                               stray_extents_.size(), key::Id(stray_extents_.front().key)),
                   "they are dropped");
    if (context_.repair()) RETURN_IF_ERROR(context_.ApplyAll(stray_extents_));
  }
  for (const ContentFacts& facts : facts_) {
    if (!facts.extents_broken) continue;
    context_.Found("the extents of " + Describe(facts) + " overlap", "they are joined");
    if (context_.repair()) RETURN_IF_ERROR(RewriteExtents(facts.content));
  }
  return Status();
}

Status ContentCheck::JudgeVersions() {
  for (const VersionFault& fault : version_faults_) {
    const std::string name(fault.row_key.substr(9, fault.row_key.size() - 9 - 5));
    const InodeNumber directory = inodes_.DirectoryOf(key::Id(fault.row_key));
    const std::string path = directory != 0 ? context_.PathOf(directory, name) : name;
    context_.Found(fmt::format("version {} of {} is above the last number that was given",
                               key::Number(fault.row_key), path),
                   "the counter is raised");
    if (context_.repair()) RETURN_IF_ERROR(FixVersion(fault));
  }
  return Status();
}

Status ContentCheck::JudgeSizes() {
  for (const InodeFacts& inode : inodes_.all()) {
    if (inode.content == 0 || inode.links == 0) continue;
    const ContentFacts* facts = Find(inode.content);
    if (facts == nullptr || !facts->stored || facts->size_bytes == inode.size_bytes) continue;
    context_.Found(
        fmt::format("{} (inode {}) says that it has {} bytes, and its content has {}",
                    context_.PathOf(inode.inode), inode.inode, inode.size_bytes, facts->size_bytes),
        "its size is set to that of the content");
    if (!context_.repair()) continue;
    ASSIGN_OR_RETURN(InodeRecord record, context_.d.tree.Inode(inode.inode));
    record.size_bytes = facts->size_bytes;
    Batch batch;
    Tree::PutInode(inode.inode, record, &batch);
    RETURN_IF_ERROR(context_.Apply(batch));
  }
  return Status();
}

void ContentCheck::Summarise() {
  context_.report().contents = facts_.size();
  for (const ContentFacts& facts : facts_)
    if (!facts.needed && facts.captured) ++unneeded_;
  if (pending_ > 0)
    context_.Note(
        fmt::format("{} contents ({} bytes) wait in staging files to be stored; the next "
                    "mount goes on with them",
                    pending_, pending_bytes_));
  if (live_ > 0)
    context_.Note(fmt::format("{} files were being written; the next mount captures them", live_));
  if (known_losses_ > 0)
    context_.Note(
        fmt::format("{} contents lack bytes, known from an earlier repair", known_losses_));
  if (unneeded_ > 0)
    context_.Note(fmt::format("{} contents are named by nothing and take space", unneeded_));
  if (!stray_recipes_.empty())
    context_.Note(fmt::format("{} recipes belong to no content any more", stray_recipes_.size()));
}

}  // namespace varve
