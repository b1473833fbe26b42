// Every chunk that the index places, compared with what the packs hold.
//
// Loaded once: the packs are read, and rows that lead nowhere are dropped or led to
// another copy. What is made from a base is there if that is. The checks of contents then ask here.
//
// Threads: one at a time.
// Memory:  56 bytes for each chunk.
#pragma once

#include <string>
#include <vector>

#include "fs/core/fsck_context.h"

namespace varve {

class ChunkTable {
 public:
  Status Load(FsckContext& context);

  enum class Presence : uint8_t {
    kIntact,
    kNoRow,  // a pack has it, the index does not say where; Restore() says it
    kLost,
  };
  // `size_bytes` is what a recipe says.
  Presence Find(const ChunkId& id, uint64_t size_bytes) const;
  // REQUIRES: Find() said kNoRow. Adds the row that is missing, and those of its bases; not
  // before the next Settle() does Find() know.
  void Restore(const ChunkId& id, Batch* batch);
  void Settle();

 private:
  struct Row {
    ChunkId id;
    ChunkLocation location;
    bool intact = false;   // a pack holds it there
    bool settled = false;  // so it will be read: it is intact, and so are its bases
  };
  const Row* FindRow(const std::vector<Row>& rows, const ChunkId& id) const;
  Status LoadRows(FsckContext& context);
  Status ScanPacks(FsckContext& context);
  Status ScanPack(FsckContext& context, uint32_t pack);
  void SeeChunk(const ChunkId& id, const ChunkLocation& location);
  // Decides for each chunk whether the row or a copy counts, and forgets what does not: first of
  // all those whose bases are lost.
  void SettleAll();
  bool SettleMade(std::vector<Row>* rows);
  bool IsSettled(const ChunkId& id) const;
  // Adds the rows that bases of the rows lack.
  Status AddBases(FsckContext& context);
  Status FixRows(FsckContext& context);

  std::vector<Row> rows_;      // of the index, ascending
  std::vector<Row> copies_;    // in packs, where the index does not place them; ascending
  std::vector<Row> restored_;  // since the last Settle()
};

// The row that says that a damaged place of a pack is known.
std::string DamageKey(uint32_t pack, uint64_t offset_bytes);

}  // namespace varve
