// The JSON of `.varve/status`.
//
// Threads: a free function.
// Format:  docs/SEMANTICS.md, "Status".
#pragma once

#include <string>

#include "fs/core/collector.h"
#include "fs/core/content_store.h"
#include "fs/core/digester.h"
#include "fs/core/recovery.h"
#include "fs/core/scrubber.h"
#include "fs/core/volume.h"

namespace varve {

struct StatusInput {
  MountFacts facts;
  std::string store;
  std::string mount_point;
  std::string store_uring_reason;
  PackUsage packs;
  CatalogStats catalog;
  ContentStore::Counters contents;
  PendingWork pending;
  std::string digest_error;
  std::string fence_reason;
  RecoveryReport recovery;
  CollectProgress collection;
  bool history_yields = true;
  ScrubProgress scrub;
  double uptime_seconds = 0;
  uint64_t free_bytes = 0;
  uint64_t hot_bytes = 0;
  uint64_t hot_files = 0;
};

std::string MakeStatusJson(const StatusInput& in);

}  // namespace varve
