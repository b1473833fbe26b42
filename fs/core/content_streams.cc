#include "fs/core/content_streams.h"

#include <algorithm>

namespace varve {

StreamDetector::Stream& StreamDetector::Find(ByteRange read) {
  Stream* best = nullptr;
  uint64_t best_distance = 0;
  Stream* oldest = &streams_[0];
  for (Stream& stream : streams_) {
    if (stream.last_use < oldest->last_use) oldest = &stream;
    if (stream.last_use == 0) continue;
    const uint64_t distance =
        read.begin > stream.head ? read.begin - stream.head : stream.head - read.begin;
    if (distance > kNearBytes) continue;
    if (best == nullptr || distance < best_distance) {
      best = &stream;
      best_distance = distance;
    }
  }
  if (best != nullptr) {
    // Reading the same bytes again is no stream.
    best->established |= read.end > best->head;
  } else {
    best = oldest;
    *best = {read.begin, read.begin, read.begin, 0, read.end - read.begin >= kLongReadBytes};
  }
  best->last_use = ++uses_;
  return *best;
}

ByteRange StreamDetector::OnRead(ByteRange read, uint64_t content_bytes,
                                 uint64_t window_bytes_max) {
  Stream& stream = Find(read);
  stream.begin = std::min(stream.begin, read.begin);
  stream.head = std::max(stream.head, read.end);
  stream.ahead_end = std::max(stream.ahead_end, stream.head);
  if (!stream.established) return {};

  const uint64_t window =
      std::min(std::clamp(4 * (stream.head - stream.begin), kWindowBytesMin, kWindowBytesMax),
               window_bytes_max);
  const uint64_t target = std::min(stream.head + window, content_bytes);
  if (target <= stream.ahead_end) return {};
  // Little by little would make small batches; the end of the content is worth one.
  if (target - stream.ahead_end < window / 4 && target != content_bytes) return {};
  const ByteRange range{stream.ahead_end, target};
  stream.ahead_end = target;
  return range;
}

ByteRange StreamDetector::StillAhead(ByteRange range) const {
  for (const Stream& stream : streams_) {
    if (stream.begin <= range.begin && stream.ahead_end >= range.end)
      range.begin = std::clamp(stream.head, range.begin, range.end);
  }
  return range;
}

}  // namespace varve
