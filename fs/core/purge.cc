#include "fs/core/purge.h"

#include <fmt/format.h>

#include <charconv>

#include "fs/core/collect_versions.h"
#include "fs/core/content_recipe.h"
#include "fs/core/content_references.h"
#include "fs/core/purge_targets.h"
#include "fs/core/tensor_rows.h"

namespace varve {
namespace {

// So long others may wait for the tree: a few rows.
constexpr size_t kAtOnce = 16;
constexpr size_t kRowsAtOnce = 256;
// In JSON, of a byte and of a string.
constexpr size_t kEscapedMost = 6;
constexpr size_t kQuotes = 4;
constexpr std::string_view kPackMeta = "purged_pack/";

std::string PackRow(uint32_t pack) { return key::Meta(fmt::format("{}{:08x}", kPackMeta, pack)); }

// What is named meanwhile is noticed.
class NotingReferences {
 public:
  explicit NotingReferences(ContentReferences& references) : references_(references) {
    references_.Start();
  }
  ~NotingReferences() { references_.Stop(); }
  NotingReferences(const NotingReferences&) = delete;
  NotingReferences& operator=(const NotingReferences&) = delete;

 private:
  ContentReferences& references_;
};

}  // namespace

Status Purge::Run(const PurgeRequest& request, bool apply, PurgeReport* report) {
  report_ = report;
  report->path = request.path;
  report->dry_run = !apply;
  const NotingReferences noting(d_.tree.references());
  PurgeTargets targets(d_.tree.catalog(), pause_);
  RETURN_IF_ERROR(targets.Find(request.history, request.name));
  named_ = purged_ = targets.contents();
  if (named_.empty()) return Status(Code::kNotFound, "no version or captured directory has it");
  for (const ContentId content : targets.shown_by_clones())
    report->live_contents += purged_.erase(content);
  RETURN_IF_ERROR(LeaveLive());
  RETURN_IF_ERROR(LeaveBusy());
  RETURN_IF_ERROR(GatherChunks());
  if (apply) {
    // First of all: from here on every collection empties them.
    Batch batch;
    for (const uint32_t pack : packs_) batch.Put(PackRow(pack), "");
    if (!batch.empty()) RETURN_IF_ERROR(d_.tree.catalog().Apply(batch));
  }
  RETURN_IF_ERROR(CountVersions(apply));
  std::vector<ContentId> some;
  for (const ContentId content : std::vector<ContentId>(purged_.begin(), purged_.end())) {
    if (!apply) {
      ASSIGN_OR_RETURN(const ContentRecord record, d_.tree.Content(content));
      ++report->contents;
      report->content_bytes += record.size_bytes;
      continue;
    }
    some.push_back(content);
    if (some.size() == kAtOnce) RETURN_IF_ERROR(PurgeSome(std::exchange(some, {})));
  }
  RETURN_IF_ERROR(PurgeSome(some));
  if (apply) RETURN_IF_ERROR(RemovePurgedRecipes(d_.tree.catalog()));
  return TellUsers();
}

Status Purge::Walk(char table,
                   const std::function<Status(std::string_view, std::string_view)>& visit) {
  return ForEachPage(d_.tree.catalog(), key::Table(table), [&](const RowPage& page) -> Status {
    for (const auto& [row_key, row] : page) RETURN_IF_ERROR(visit(row_key, row));
    return pause_() ? Status() : Status(Code::kBusy, "the purge was stopped");
  });
}

Status Purge::LeaveLive() {
  return Walk(key::kInode, [&](std::string_view, std::string_view row) -> Status {
    ASSIGN_OR_RETURN(const InodeRecord record, InodeRecord::Decode(row));
    if (purged_.erase(record.content) == 0) return Status();
    ++(record.links > 0 ? report_->live_contents : report_->busy_contents);
    return Status();
  });
}

// What is not stored yet is still being read by the digester, and what others lie on is
// theirs, too.
Status Purge::LeaveBusy() {
  std::vector<ContentId> needed;
  std::unordered_set<ContentId> known;
  const Status walked =
      Walk(key::kContent, [&](std::string_view row_key, std::string_view row) -> Status {
        ASSIGN_OR_RETURN(const ContentRecord record, ContentRecord::Decode(row));
        const ContentId content = key::Id(row_key);
        if (!record.stored && record.overlay) needed.push_back(record.base);
        if (!purged_.contains(content)) return Status();
        known.insert(content);
        if (record.purged) {
          purged_.erase(content);
        } else if (!record.stored || d_.contents.IsRead(content)) {
          needed.push_back(content);
        }
        return Status();
      });
  RETURN_IF_ERROR(walked);
  for (const ContentId content : needed) report_->busy_contents += purged_.erase(content);
  std::erase_if(purged_, [&](ContentId content) { return !known.contains(content); });
  return Status();
}

Status Purge::GatherChunks() {
  ChunkIds going;
  for (const ContentId content : named_) {
    const bool goes = purged_.contains(content);
    const auto gather = [&](const RowPage& page) -> Status {
      for (const auto& [row_key, row] : page) {
        ASSIGN_OR_RETURN(const RecipeSegment segment, DecodeSegment(key::Offset(row_key), row));
        for (const Piece& piece : segment.pieces) {
          if (piece.hole()) continue;
          chunks_.insert(piece.id);
          if (goes) going.insert(piece.id);
        }
      }
      return pause_() ? Status() : Status(Code::kBusy, "the purge was stopped");
    };
    RETURN_IF_ERROR(ForEachPage(d_.tree.catalog(), key::AllRecipe(content), gather));
  }
  return FindPacks(going);
}

// Of a chunk that was coded anew a pack may still have an earlier copy, which the index does
// not know.
Status Purge::FindPacks(const ChunkIds& going) {
  if (going.empty()) return Status();
  for (const uint32_t pack : d_.packs.Packs()) {
    PackStore::ScanSink sink;
    sink.on_chunk = [&](const ChunkId& id, const ChunkLocation&) {
      if (going.contains(id)) packs_.insert(pack);
    };
    const Status scanned = d_.packs.Scan(pack, /*verify_payload=*/false, sink);
    if (!scanned.ok() && scanned.code() != Code::kNotFound) return scanned;
    if (!pause_()) return Status(Code::kBusy, "the purge was stopped");
  }
  return Status();
}

Status Purge::CountVersions(bool apply) {
  RowPage going;
  const Status walked =
      Walk(key::kVersion, [&](std::string_view row_key, std::string_view row) -> Status {
        ASSIGN_OR_RETURN(const VersionRecord version, VersionRecord::Decode(row));
        if (!purged_.contains(version.content)) return Status();
        ++report_->versions;
        if (!apply) return Status();
        going.emplace_back(row_key, row);
        return going.size() < kRowsAtOnce ? Status()
                                          : DropUnchanged(d_.tree, std::exchange(going, {}));
      });
  RETURN_IF_ERROR(walked);
  return DropUnchanged(d_.tree, going);
}

Status Purge::PurgeSome(const std::vector<ContentId>& contents) {
  Batch batch;
  std::vector<StageId> stages;
  MutexLock lock(d_.tree.mutex());
  for (const ContentId content : contents) RETURN_IF_ERROR(PurgeLocked(content, &batch, &stages));
  if (batch.empty()) return Status();
  RETURN_IF_ERROR(d_.tree.Apply(batch));
  d_.files.RemoveStages(stages);
  return Status();
}

Status Purge::PurgeLocked(ContentId content, Batch* batch, std::vector<StageId>* stages) {
  ASSIGN_OR_RETURN(ContentRecord record, d_.tree.Content(content));
  const std::shared_ptr<OpenFile> file = d_.files.FindLocked(record.inode);
  const bool open = file && (file->content == content || file->copy == content);
  if (open || d_.tree.references().Has(content) || d_.contents.IsRead(content)) {
    ++report_->busy_contents;
    purged_.erase(content);
    return Status();
  }
  ++report_->contents;
  report_->content_bytes += record.size_bytes;
  if (record.stage != 0) {
    batch->Delete(key::Stage(record.stage));
    stages->push_back(record.stage);
    d_.hot.Remove(content);
  }
  record.purged = true;
  record.complete = false;
  record.incomplete_reason = "it was purged";
  record.stage = 0;
  Tree::PutContent(content, record, batch);
  return Status();
}

Status Purge::TellUsers() {
  if (chunks_.empty()) return Status();
  ChunkUsers users(d_.tree, [this] {
    return pause_() ? Status() : Status(Code::kBusy, "the purge was stopped");
  });
  const auto counts = [this](ContentId content) { return !purged_.contains(content); };
  const auto tell = [this](ChunkUsers::User user) {
    ++report_->users;
    path_bytes_ += kEscapedMost * user.path.size() + kQuotes;
    if (path_bytes_ <= PurgeReport::kPathBytesMax) report_->paths.push_back(std::move(user.path));
  };
  return users.Find(chunks_, tell, counts);
}

Result<std::set<uint32_t>> PurgedPacks(Catalog& catalog) {
  std::set<uint32_t> packs;
  const std::string begin = key::Meta(kPackMeta);
  std::string end = begin;
  ++end.back();
  const Status walked = ForEachPage(catalog, {begin, end}, [&](const RowPage& page) -> Status {
    for (const auto& [row_key, row] : page) {
      uint32_t pack = 0;
      const char* const digits = row_key.data() + begin.size();
      const char* const last = row_key.data() + row_key.size();
      const auto [parsed, error] = std::from_chars(digits, last, pack, 16);
      if (error != std::errc() || parsed != last)
        return Status(Code::kCorrupt, "a row of a purged pack is damaged");
      packs.insert(pack);
    }
    return Status();
  });
  RETURN_IF_ERROR(walked);
  return packs;
}

// Nobody reads them any more: who opens a purged content is told so.
Status RemovePurgedRecipes(Catalog& catalog) {
  const auto remove = [&](const RowPage& page) -> Status {
    Batch batch;
    for (const auto& [row_key, row] : page) batch.Delete(row_key);
    return catalog.Apply(batch);
  };
  return ForEachPage(catalog, key::Table(key::kContent), [&](const RowPage& page) -> Status {
    for (const auto& [row_key, row] : page) {
      ASSIGN_OR_RETURN(const ContentRecord record, ContentRecord::Decode(row));
      if (!record.purged) continue;
      for (const key::Range& rows :
           {key::AllRecipe(key::Id(row_key)), key::AllTensorMap(key::Id(row_key))}) {
        const Status removed = ForEachPage(catalog, rows, remove);
        if (!removed.ok()) return removed;
      }
    }
    return Status();
  });
}

Status ForgetPurgedPacks(const std::set<uint32_t>& packs, Catalog& catalog) {
  Batch batch;
  for (const uint32_t pack : packs) batch.Delete(PackRow(pack));
  return batch.empty() ? Status() : catalog.Apply(batch);
}

}  // namespace varve
