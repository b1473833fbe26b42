#include "index/log_replay.h"

#include <algorithm>

namespace varve {
namespace {

// Reads a file front to back through a window, so that a record costs no system call.
class WindowReader {
 public:
  WindowReader(File& file, uint64_t offset) : file_(file), begin_(offset) {}

  // The `size` bytes at `offset`, or fewer at the end of the file. Valid until the next call.
  // REQUIRES: `offset` is not below that of the call before.
  Result<ByteView> Read(uint64_t offset, size_t size) {
    if (offset + size > begin_ + filled_) {
      window_.resize(std::max<size_t>(size, kWindowBytes));
      ASSIGN_OR_RETURN(filled_, file_.ReadAt(offset, window_));
      begin_ = offset;
    }
    const auto skip = static_cast<size_t>(offset - begin_);
    if (skip >= filled_) return ByteView();
    return ByteView(window_).subspan(skip, std::min(size, filled_ - skip));
  }

 private:
  static constexpr size_t kWindowBytes = 256u << 10;

  File& file_;
  uint64_t begin_;
  size_t filled_ = 0;
  std::vector<uint8_t> window_;
};

// Replays the records from `position` on, as far as they continue `state`.
Status ReplaySegment(File& file, LogPosition position, const ReplayFn& replay, Replayed* state) {
  WindowReader reader(file, position.offset_bytes);
  Replayed::Range range{position.segment, position.offset_bytes, position.offset_bytes, 0};
  for (;;) {
    ASSIGN_OR_RETURN(ByteView bytes, reader.Read(range.end, kRecordHeaderBytes));
    const std::optional<RecordHeader> header = DecodeRecordHeader(bytes);
    if (!header || header->sequence != state->sequence + 1 ||
        header->generation < state->generation)
      break;
    const size_t record_bytes = kRecordHeaderBytes + header->body_bytes;
    ASSIGN_OR_RETURN(bytes, reader.Read(range.end, record_bytes));
    if (bytes.size() < record_bytes || !RecordIsIntact(bytes)) break;
    RETURN_IF_ERROR(replay(header->sequence, bytes.subspan(kRecordHeaderBytes)));
    state->sequence = header->sequence;
    state->generation = header->generation;
    range.end += record_bytes;
    range.last_sequence = header->sequence;
  }
  if (range.end > range.begin) {
    state->end = {position.segment, range.end};
    state->ranges.push_back(range);
  }
  return {};
}

}  // namespace

Result<Replayed> ReplayLog(const LogSegmentFiles& files, const LogMark& mark,
                           const ReplayFn& replay) {
  Replayed state;
  state.end = mark.next;
  state.sequence = mark.sequence;
  state.generation = mark.generation;
  // The record behind the mark is there, or, if it found no room there, at the start of a segment.
  // Each segment is entered at its start at most once more, because records that are not committed
  // are never overwritten.
  const uint32_t other = 1 - mark.next.segment;
  const LogPosition starts[] = {mark.next, {other}, {mark.next.segment}, {other}};
  for (const LogPosition& start : starts) {
    if (files[start.segment] == nullptr) continue;
    RETURN_IF_ERROR(ReplaySegment(*files[start.segment], start, replay, &state));
  }
  return state;
}

}  // namespace varve
