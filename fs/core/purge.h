// Removes what a name ever held from all history, pins included (`varve purge`).
//
// What is purged stays as a row that says so: a captured directory goes on to list the
// file, and who opens it is told. Versions that name it go. What live files and clones
// show is no history, and stays; so does what is open or not stored yet. The packs that
// hold the bytes are noted, and collections empty them (collect_packs.h) however full they
// are, this time or the next.
//
// Threads: belongs to one thread; takes Tree::mutex() for a moment at a time.
// Errors:  those of the catalog; kNotFound for a name that has no history; kBusy when
//          `pause` says false. What was purged by then is; another run does the rest.
// Memory:  the contents and chunks of the name; the report is bounded.
#pragma once

#include <functional>
#include <set>
#include <unordered_set>
#include <vector>

#include "fs/core/chunk_users.h"
#include "fs/core/hot_cache.h"
#include "fs/core/live_files.h"
#include "fs/core/purge_report.h"

namespace varve {

class Purge {
 public:
  struct Dependencies {
    Tree& tree;
    LiveFiles& files;
    ContentStore& contents;
    HotCache& hot;
    PackStore& packs;
  };
  Purge(const Dependencies& dependencies, std::function<bool()> pause)
      : d_(dependencies), pause_(std::move(pause)) {}

  // Without `apply` it only tells. `packs_left` is the collector's to tell.
  Status Run(const PurgeRequest& request, bool apply, PurgeReport* report);

 private:
  Status LeaveLive();
  Status LeaveBusy();
  Status GatherChunks();
  Status FindPacks(const ChunkIds& going);
  Status CountVersions(bool apply);
  Status PurgeSome(const std::vector<ContentId>& contents);
  Status PurgeLocked(ContentId content, Batch* batch, std::vector<StageId>* stages);
  Status TellUsers();
  Status Walk(char table, const std::function<Status(std::string_view, std::string_view)>& visit);

  Dependencies d_;
  const std::function<bool()> pause_;
  PurgeReport* report_ = nullptr;
  size_t path_bytes_ = 0;
  std::unordered_set<ContentId> named_;   // all that the name ever had
  std::unordered_set<ContentId> purged_;  // of them, what goes
  ChunkIds chunks_;                       // of named_
  std::set<uint32_t> packs_;              // of the chunks of purged_
};

// The packs that hold some of what was purged.
Result<std::set<uint32_t>> PurgedPacks(Catalog& catalog);
// A death may have come between a content's row and its recipe.
Status RemovePurgedRecipes(Catalog& catalog);
// They do not any more.
Status ForgetPurgedPacks(const std::set<uint32_t>& packs, Catalog& catalog);

}  // namespace varve
