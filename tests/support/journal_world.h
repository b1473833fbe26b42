// A catalog that commits with journals, on a simulated disk, and what a rebuild makes of
// those journals.
//
// Threads: one.
#pragma once

#include <map>
#include <memory>
#include <optional>
#include <string>

#include "fs/core/journal_set.h"
#include "index/catalog.h"
#include "store/pack/pack_store.h"
#include "tests/support/memory_key_value_store.h"
#include "tests/support/random.h"
#include "tests/support/sim_disk.h"

namespace varve::testing {

using Rows = std::map<std::string, std::string>;

// All rows but the places of chunks.
Rows RowsOf(Catalog& catalog);

// What a rebuild would make of these packs, in a catalog of its own.
struct Rebuilt {
  Rows rows;
  std::map<std::string, std::string> places;  // of chunks
  std::optional<uint64_t> base_sequence;
  uint64_t newest_sequence = 0;
  uint64_t unfinished = 0;
};
Result<Rebuilt> RebuildRows(PackStore& packs);

class JournalWorld {
 public:
  explicit JournalWorld(uint64_t seed);

  Status Open();
  // Random rows change, in one batch.
  Status Change(size_t value_bytes_max = 200);
  Status Commit();
  Result<uint64_t> WriteBase();
  // Every pack goes whose journals are superseded. REQUIRES: they hold nothing else.
  Status RemoveOldPacks();
  void PowerCut();

  Random& random() { return random_; }
  SimDisk& disk() { return disk_; }
  Catalog& catalog() { return *catalog_; }
  PackStore& packs() { return *packs_; }
  const Fingerprinter& fingerprinter() const { return fingerprinter_; }
  // As of a batch that was applied.
  const Rows& RowsAt(uint64_t sequence) const { return history_.at(sequence); }
  uint64_t committed() const { return committed_; }

 private:
  Random random_;
  const Fingerprinter fingerprinter_{std::string(Fingerprinter::kSecretBytes, 's')};
  SimDisk disk_;
  MemoryKeyValueStore index_;
  std::unique_ptr<PackStore> packs_;
  std::unique_ptr<Catalog> catalog_;
  std::map<uint64_t, Rows> history_;  // by sequence
  uint64_t committed_ = 0;            // what Commit() said at least
};

}  // namespace varve::testing
