// What a pack knows of a journal record: its place in the order of all journals, and
// whether it is a part of a base journal.
//
// A base journal of sequence S is a series of records, `part` 1, 2, … n, that stands for
// all journals up to S. Only its last record has `parts`, which is n: so a series that a
// crash has cut short is told from a whole one.
//
// Threads: values.
// Format:  docs/FORMAT.md, "Journal".
#pragma once

#include <cstdint>

namespace varve {

struct JournalLabel {
  uint64_t sequence = 0;
  uint32_t part = 0;   // of a base journal, from 1; 0: an ordinary one
  uint32_t parts = 0;  // 0 but in the last record of a base journal
  bool operator==(const JournalLabel&) const = default;
};

}  // namespace varve
