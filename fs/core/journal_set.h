// Which of the journals in the packs count, and in which order they are replayed.
//
// The newest base journal that is whole stands for all up to its sequence; the ordinary
// ones behind it follow. What came before, and base journals without an end or with a
// missing part, are not needed.
//
// Threads: one.
// Memory:  24 bytes for each journal record.
// Format:  docs/FORMAT.md, "Journal".
#pragma once

#include <cstdint>
#include <optional>
#include <set>
#include <vector>

#include "store/pack/pack_store.h"

namespace varve {

struct JournalPlace {
  uint32_t pack = 0;
  uint32_t offset_bytes = 0;
  JournalLabel label;
};

class JournalSet {
 public:
  // From the tables of the packs: cheap, and blind to damage inside of journals.
  static Result<JournalSet> Find(PackStore& packs);

  // Records come in the order of their packs and of their places there.
  void Add(uint32_t pack, const JournalInfo& info);

  // Of the newest whole base journal.
  std::optional<uint64_t> base_sequence() const;
  // Of all that there are.
  uint64_t newest_sequence() const { return newest_sequence_; }
  // Base journals that do not count because they are not whole.
  uint64_t unfinished() const { return unfinished_ + (attempt_.empty() ? 0 : 1); }

  std::vector<JournalPlace> InOrder() const;
  // The packs that hold those: all others are not needed for their journals. One that
  // is being written will hold the next journals too.
  std::set<uint32_t> NeededPacks() const;

 private:
  void AddPart(const JournalPlace& place);

  std::vector<JournalPlace> ordinary_;
  std::optional<std::vector<JournalPlace>> base_;
  std::vector<JournalPlace> attempt_;  // parts 1, 2, … of one that may come to its end
  uint64_t newest_sequence_ = 0;
  uint64_t unfinished_ = 0;
};

}  // namespace varve
