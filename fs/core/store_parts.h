// The parts of an open store, built over any disk and any key-value store.
//
// This is the one place that knows in which order the parts are made and how they
// know each other. No part has a thread of its own until it is started: Digester and
// Committer can be called by hand instead, which is how the simulator runs them.
//
// Threads: built and destroyed by one thread; the parts say for themselves. Who
//          started some of them stops them before.
#pragma once

#include <sys/types.h>

#include <functional>
#include <memory>
#include <string>

#include "fs/core/collector.h"
#include "fs/core/committer.h"
#include "fs/core/directory_capture.h"
#include "fs/core/disk_room.h"
#include "fs/core/frozen_nodes.h"
#include "fs/core/live_nodes.h"
#include "fs/core/recovery.h"
#include "fs/core/scrubber.h"
#include "store/pack/pack_store.h"

namespace varve {

class StoreParts {
 public:
  // All of it outlives the parts.
  struct Base {
    Disk& disk;
    KeyValueStore& key_values;
    const Fingerprinter& fingerprinter;
    Clock& clock;
    KernelChannel& kernel;
    std::function<std::string()> status_json;
    std::function<void(int64_t ns)> scrub_wait = {};  // instead of waiting; for the simulator
  };
  struct Options {
    PackStoreOptions packs;
    CatalogOptions catalog;
    ContentStoreOptions contents;
    bool passthrough = true;
    int64_t quiet_ns = int64_t{2} * 1'000'000'000;  // see DirectoryCapture
    uint64_t hot_bytes_max = 0;
    bool history_yields = true;  // see DiskRoom
    std::string mount_point;
    uid_t root_uid = 0;  // of a new store's root directory
    gid_t root_gid = 0;
  };

  static Result<std::unique_ptr<StoreParts>> Build(const Base& base, const Options& options);

  // Finishes what the last mount left, before anything else is called.
  Result<RecoveryReport> RecoverTree();

  NodeOps& Nodes(NodeId node) {
    switch (KindOf(node)) {
      case NodeKind::kVirtual:
        return *virtual_;
      case NodeKind::kFrozen:
        return *frozen_;
      case NodeKind::kLive:
        break;
    }
    return *live_;
  }
  PackStore& packs() { return *packs_; }
  Catalog& catalog() { return *catalog_; }
  Tree& tree() { return *tree_; }
  StageArea& stages() { return *stages_; }
  ContentStore& contents() { return *contents_; }
  LiveFiles& files() { return *files_; }
  HotCache& hot() { return *hot_; }
  LiveNodes& live() { return *live_; }
  Digester& digester() { return *digester_; }
  Committer& committer() { return *committer_; }
  Collector& collector() { return *collector_; }
  Scrubber& scrubber() { return *scrubber_; }
  DiskRoom& room() { return *room_; }
  DirectoryCapture& capture() { return *capture_; }
  FrozenNodes& frozen() { return *frozen_; }

 private:
  explicit StoreParts(const Base& base) : base_(base) {}
  Status OpenStores(const Options& options);
  Result<std::unique_ptr<Catalog>> OpenIndex(const CatalogOptions& options);
  Status MakeNodes(const Options& options);
  void MakeRoom();
  Status CommitOnFullDisk(RoomFor room);
  void CaptureDirectories();

  const Base base_;
  // In the order in which they are built.
  std::unique_ptr<PackStore> packs_;
  std::unique_ptr<Catalog> catalog_;
  std::unique_ptr<Tree> tree_;
  std::unique_ptr<StageArea> stages_;
  std::unique_ptr<ContentStore> contents_;
  std::unique_ptr<HistoryWriter> history_;
  std::unique_ptr<Clones> clones_;
  std::unique_ptr<LiveFiles> files_;
  std::unique_ptr<HotCache> hot_;
  std::unique_ptr<DiskRoom> room_;
  std::unique_ptr<LiveNodes> live_;
  std::unique_ptr<DirectoryCapture> capture_;
  std::unique_ptr<FrozenNodes> frozen_;
  std::unique_ptr<VirtualNodes> virtual_;
  std::unique_ptr<Digester> digester_;
  std::unique_ptr<Committer> committer_;
  std::unique_ptr<Collector> collector_;
  std::unique_ptr<Scrubber> scrubber_;
};

}  // namespace varve
