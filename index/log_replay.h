// Reading the log back: which records follow what the index already holds.
//
// Sequence numbers are consecutive. Generations count openings of the log: a new
// one is durable in a segment's header before the first record carries it, so one
// pair of both numbers names at most one record, ever. The next record is the one
// whose checksum is right, whose sequence number is next, and whose generation is
// not below that of the record before it.
//
// Why no stale record is replayed: segments are reused without being cleared, and
// a power cut may leave holes. If record s+1 cannot be found when the log is opened
// in generation g, nothing of an older generation is ever written again. So a later
// s+1 is of generation g or newer, and so is all that follows it, while whatever
// lay behind the hole is older and refused. What is left of s+1 itself loses its
// header before generation g begins, so that a mixture of its sectors with those of
// its successor cannot become whole.
//
// Threads:  one.
// Errors:   a record that is torn, stale or missing ends the log; it is no error.
//           kIo if the disk cannot be read, kCorrupt for an intact record whose
//           batch cannot be decoded.
// Format:   docs/FORMAT.md, "Log".
#pragma once

#include <array>
#include <cstdint>
#include <functional>
#include <memory>
#include <vector>

#include "index/log_format.h"
#include "store/base/disk.h"
#include "store/base/result.h"

namespace varve {

using ReplayFn = std::function<Status(uint64_t sequence, ByteView body)>;

struct Replayed {
  LogPosition end;          // behind the last record; where the next one belongs
  uint64_t sequence = 0;    // of the last record, or of the mark
  uint64_t generation = 0;  // the newest one met
  // What was replayed, in order: at most one range per segment and direction.
  struct Range {
    uint32_t segment = 0;
    uint64_t begin = 0;
    uint64_t end = 0;
    uint64_t last_sequence = 0;
  };
  std::vector<Range> ranges;
};

// A missing segment is a null pointer.
using LogSegmentFiles = std::array<File*, kLogSegments>;

Result<Replayed> ReplayLog(const LogSegmentFiles& files, const LogMark& mark,
                           const ReplayFn& replay);

}  // namespace varve
