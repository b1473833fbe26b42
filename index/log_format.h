// The bytes of the log: segment headers, record headers and batches.
//
// A segment file is one header block of 4096 bytes, then records without gaps,
// then whatever lay there before. So every record names its own place in history:
// see log_replay.h for why a stale one can never be taken for a new one.
//
// Threads: free functions and values.
// Errors:  kCorrupt for bytes that are none of ours, kUnsupported for a format
//          that is newer than this program. No input makes a decoder read beyond
//          its view or allocate more than the view's size.
// Units:   bytes.
// Format:  docs/FORMAT.md, "Log".
#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <string_view>

#include "index/catalog.h"
#include "store/base/bytes.h"
#include "store/base/result.h"

namespace varve {

inline constexpr uint32_t kLogSegments = 2;
inline constexpr uint64_t kLogBlockBytes = 4096;
inline constexpr uint64_t kRecordHeaderBytes = 32;
inline constexpr uint64_t kBatchBytesMax = 8u << 20;
inline constexpr size_t kKeyBytesMax = 400;
inline constexpr size_t kValueBytesMax = 128u << 10;

// Where a record starts, or may start.
struct LogPosition {
  uint32_t segment = 0;
  uint64_t offset_bytes = kLogBlockBytes;
};

// What the index holds of the log: everything up to `sequence`. The next record
// is at `next`, or at the start of a segment, and is not of an older generation.
struct LogMark {
  uint64_t sequence = 0;
  uint64_t generation = 0;
  LogPosition next;
};

// One whole header block.
std::string EncodeLogHeader(uint64_t generation);
// The generation, or nothing for a block of zeros (a segment that never was used).
Result<std::optional<uint64_t>> DecodeLogHeader(ByteView block);

struct RecordHeader {
  uint64_t checksum = 0;  // of all that follows it
  uint32_t body_bytes = 0;
  uint64_t sequence = 0;
  uint64_t generation = 0;
};

// Fills the first kRecordHeaderBytes of `record`, whose body is in place.
void SealRecord(uint64_t sequence, uint64_t generation, std::string* record);
// Nothing if these cannot be the first bytes of a record. The checksum is not verified.
std::optional<RecordHeader> DecodeRecordHeader(ByteView header);
// `record` is header and body.
bool RecordIsIntact(ByteView record);

// The limits of catalog.h. Fails with kInvalid.
Status CheckBatch(const Batch& batch);
// Appends a record's body.
void EncodeBatch(const Batch& batch, std::string* out);
// Visits the changes of a body in their order.
using VisitChangeFn =
    std::function<void(std::string_view key, std::optional<std::string_view> value)>;
Status DecodeBatch(ByteView body, const VisitChangeFn& visit);

// A LogMark as the index stores it.
std::string EncodeLogMark(const LogMark& mark);
Result<LogMark> DecodeLogMark(std::string_view value);

}  // namespace varve
