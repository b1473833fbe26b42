// Finds sequential streams in the reads of one content and says what to load ahead.
//
// The kernel reads ahead itself, so what arrives is several requests of 128 KiB to
// 1 MiB at once, slightly out of order, from several threads; and a file may be
// read at several places at a time. A stream is found by its nearness to the last
// read of it. Its window is a few times as long as what it has read so far,
// within limits: a short excursion costs little, a long run is far ahead.
//
// Threads: belongs to whoever holds its reader's mutex.
// Units:   bytes.
#pragma once

#include <array>
#include <cstdint>

#include "fs/core/content_store.h"

namespace varve {

class StreamDetector {
 public:
  static constexpr uint64_t kWindowBytesMin = 1u << 20;
  static constexpr uint64_t kWindowBytesMax = 16u << 20;
  // How far from a stream's head a read still belongs to it.
  static constexpr uint64_t kNearBytes = 2u << 20;
  // Read at once, this is a stream already.
  static constexpr uint64_t kLongReadBytes = 256u << 10;

  // The range to load ahead now, empty when there is nothing to do. A range is
  // handed out once per stream.
  ByteRange OnRead(ByteRange read, uint64_t content_bytes, uint64_t window_bytes_max);
  // What is left of a range that was handed out: not what was read meanwhile.
  ByteRange StillAhead(ByteRange range) const;

 private:
  struct Stream {
    uint64_t begin = 0;
    uint64_t head = 0;       // the highest byte read, plus one
    uint64_t ahead_end = 0;  // loaded or asked for
    uint64_t last_use = 0;   // 0: free
    bool established = false;
  };
  Stream& Find(ByteRange read);

  std::array<Stream, 8> streams_;
  uint64_t uses_ = 0;
};

}  // namespace varve
