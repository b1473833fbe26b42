// What all checks of fsck share: the open store, the findings, and how a repair
// changes the index.
//
// Threads: one.
#pragma once

#include <functional>
#include <string>
#include <string_view>

#include "fs/core/fsck.h"
#include "fs/core/stage_area.h"
#include "fs/core/tree.h"
#include "index/catalog.h"
#include "store/pack/pack_store.h"

namespace varve {

class FsckContext {
 public:
  struct Dependencies {
    Disk& disk;
    const Fingerprinter& fingerprinter;
    PackStore& packs;
    Catalog& catalog;
    Tree& tree;
    StageArea& stages;
  };
  FsckContext(const Dependencies& dependencies, const FsckOptions& options, FsckReport* report)
      : d(dependencies), options_(options), report_(*report) {}

  const Dependencies d;

  bool repair() const { return options_.repair; }
  bool verify_data() const { return options_.verify_data; }
  FsckReport& report() { return report_; }
  void Progress(std::string_view what, uint64_t done, uint64_t total) const {
    if (options_.progress) options_.progress(what, done, total);
  }

  // One violation. In a repair the caller does now what `remedy` says.
  void Found(std::string what, std::string remedy, bool repairable = true) {
    Add(&report_, repair() && repairable, std::move(what), std::move(remedy));
  }
  // The same before there is a context.
  static void Add(FsckReport* report, bool repaired, std::string what, std::string remedy);
  // Said once, in however many rounds.
  void Note(std::string note);
  // How many were found so far.
  uint64_t found() const { return report_.damages; }

  // Visits the rows of a table whose keys have the right form. `visit` must not
  // call the catalog.
  Status ScanTable(char table,
                   const std::function<void(std::string_view key, std::string_view row)>& visit);

  // REQUIRES: repair(). Applies, and commits now and then.
  Status Apply(const Batch& batch);
  // The same for deletions or other rows of any number.
  Status ApplyAll(const std::vector<Batch::Change>& changes);
  Status Commit();

  std::string PathOf(InodeNumber inode) { return d.tree.PathOf(inode); }
  // "/a/b" of a name in a directory.
  std::string PathOf(InodeNumber parent, std::string_view name);

 private:
  const FsckOptions& options_;
  FsckReport& report_;
  uint64_t uncommitted_bytes_ = 0;
};

// All checks but those of the superblock, in as many rounds as a repair takes.
Status RunChecks(FsckContext& context);

}  // namespace varve
