// Checks contents: that whatever names one finds it, that its bytes are where its
// record says, and that staging files, extents and versions belong to one.
//
// Bytes that are lost stay a part of their content: their place in the recipe names
// a chunk that no store has, so reading them is EIO and the rest can be read. Such a
// content is incomplete, and its reason begins with kLossReason: a known loss, which
// is no new damage. When the chunk is written again, to any file, it is whole again.
//
// Threads: one.
// Memory:  96 bytes for each content.
// Errors:  those of the catalog.
#pragma once

#include <map>
#include <string>
#include <unordered_set>
#include <vector>

#include "fs/core/fsck_chunks.h"
#include "fs/core/fsck_inodes.h"

namespace varve {

inline constexpr std::string_view kLossReason = "damaged: ";

struct ContentFacts {
  ContentId content = 0;
  ContentId base = 0;
  InodeNumber inode = 0;
  StageId stage = 0;
  uint64_t size_bytes = 0;
  uint64_t recipe_end = 0;  // of what joins without a gap
  uint64_t lost_begin = 0;
  uint64_t lost_bytes = 0;  // of pieces whose chunk is nowhere
  uint64_t extent_end = 0;  // of the last one
  uint64_t fresh_end = 0;   // of the last one since the last flush
  bool captured = false, stored = false, durable = false, overlay = false, torn = false;
  bool purged = false;
  bool known_loss = false;
  bool recipe_broken = false;  // a gap or an overlap
  bool base_shown = false;     // it has that row
  bool extents_broken = false;
  bool stage_row = false;  // which leads back to it
  bool needed = false;     // an inode, a version or an overlay names it

  bool recipe_whole() const { return !recipe_broken && recipe_end == size_bytes; }
  bool lossless() const { return recipe_whole() && lost_bytes == 0; }
};

class ContentCheck {
 public:
  ContentCheck(FsckContext& context, InodeTable& inodes, ChunkTable& chunks)
      : context_(context), inodes_(inodes), chunks_(chunks) {}

  Status Run();

 private:
  struct Missing {
    ContentId content = 0;
    InodeNumber inode = 0;
    uint64_t size_bytes = 0;
    std::string named_by;
  };
  struct StrayRecipe {
    uint64_t end = 0;
    bool whole = true;
  };
  struct StageRow {
    StageId stage = 0;
    ContentId content = 0;
  };
  struct Counters {  // a NameRecord
    uint64_t hash = 0;
    VersionNumber last_version = 0;
  };
  struct VersionFault {  // its number is above the counter
    std::string row_key;
  };

  // Gathering.
  Status Load();
  Status ScanRecipes();
  void SeeSegment(ContentFacts* facts, uint64_t end, std::string_view row);
  Status ScanExtents();
  Status ScanStages();
  Status ScanCounters();
  Status ScanVersions();
  Status ScanSaved();
  void SeeVersion(std::string_view row_key, const VersionRecord& version);
  void SeeInodes();
  void SeeBases();
  ContentFacts* Find(ContentId content);
  VersionNumber LastVersion(HistoryId history, std::string_view name) const;
  bool StageFileExists(StageId stage) const;

  // Judging.
  Status Judge();
  Status JudgeStored(ContentFacts& facts);
  Status JudgeHotCopy(ContentFacts& facts);
  Status JudgeStaged(ContentFacts& facts);
  std::string WhyOverlayIsLost(const ContentFacts& facts);
  Status JudgeMissing();
  Status JudgeStageRows();
  Status JudgeExtents();
  Status JudgeVersions();
  Status JudgeSizes();
  void Summarise();
  std::string Describe(const ContentFacts& facts);

  // Repairing.
  Status RestoreChunkRows();
  // The content goes on without the bytes it lacks.
  Status AcceptLoss(const ContentFacts& facts);
  Status FillGaps(ContentId content, uint64_t size_bytes, Batch* batch);
  Result<bool> HotCopyIsGood(const ContentFacts& facts);
  Status StoreAgain(const ContentFacts& facts);
  Status DeclareWhole(const ContentFacts& facts);
  Status RestoreRecord(const Missing& missing);
  Status FixVersion(const VersionFault& fault);
  Status RewriteExtents(ContentId content);
  Status AppendDeletion(const key::Range& range, Batch* batch);
  Status FallBackAndReap();

  FsckContext& context_;
  InodeTable& inodes_;
  ChunkTable& chunks_;

  std::vector<ContentFacts> facts_;  // ascending
  std::map<ContentId, StrayRecipe> stray_recipes_;
  std::vector<StageRow> stage_rows_;
  std::vector<StageId> stage_files_;  // ascending
  std::vector<Batch::Change> stray_extents_;
  std::vector<Counters> counters_;  // by hash
  std::vector<Missing> missing_;
  std::unordered_set<ContentId> missing_ids_;
  std::vector<VersionFault> version_faults_;
  std::vector<ChunkId> rowless_chunks_;
  std::map<ContentId, std::string> versions_of_damaged_;
  bool power_was_cut_ = false;
  bool fall_back_ = false;  // a staging file is gone: recovery knows what to show instead
  uint64_t pending_ = 0, pending_bytes_ = 0, live_ = 0, known_losses_ = 0, unneeded_ = 0;
};

}  // namespace varve
