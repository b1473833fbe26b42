// What a mount does first: finishes what the last one left.
//
// After the death of the daemon nothing acknowledged is lost: staging files hold
// every write, so what was open or pending is captured and digested. After a power
// cut only what was synced can be believed: a path whose content was not durable
// shows the newest version of it that is, and one that has none is torn: empty,
// and never complete. Hot copies are dropped then; packs have their bytes.
//
// Idempotent: a crash during recovery is recovered from in the same way.
//
// Threads: runs before anything else does.
// Format:  docs/SEMANTICS.md, "After a crash".
#pragma once

#include <string>
#include <vector>

#include "fs/core/history_writer.h"
#include "fs/core/stage_area.h"
#include "fs/core/tree.h"

namespace varve {

enum class CrashKind { kClean, kDaemonDied, kPowerCut };

struct RecoveryReport {
  CrashKind kind = CrashKind::kClean;
  uint64_t finished = 0;     // contents that were open or pending
  uint64_t fallen_back = 0;  // paths that show an earlier version again
  uint64_t torn = 0;         // paths that have no durable content at all
  uint64_t dropped_stages = 0;

  struct Hot {
    ContentId content = 0;
    uint64_t bytes = 0;
  };
  std::vector<ContentId> pending;  // to be digested
  std::vector<Hot> hot;            // still good copies
};

// `power_epoch` is the disk's now (Disk::PowerEpoch).
Result<RecoveryReport> Recover(Tree& tree, StageArea& stages, HistoryWriter& history,
                               const std::string& power_epoch);

// Since the last mount the page cache was lost: what was not durable may be gone.
Result<bool> PowerWasCut(Catalog& catalog, const std::string& power_epoch);

// Everything is stored and committed: the next mount has nothing to finish.
Status MarkClean(Tree& tree);

}  // namespace varve
