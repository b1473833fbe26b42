// The bytes of a pack file: headers, the table of a sealed pack, and their limits.
//
// A pack is a file header, then records. A record is a header and a payload and
// starts at a multiple of 64 bytes; what is made durable is padded with zeros to
// a whole block, so no durable block is ever written again. A sealed pack ends
// with a table of its records and a trailer. All hashes are 64-bit XXH3 under
// the store's secret: no content of a chunk can pass itself off as a record.
//
// Threads: free functions and values.
// Errors:  decoding fails with kCorrupt, and with kUnsupported for a later version.
// Units:   bytes.
// Format:  docs/FORMAT.md, "Pack file".
#pragma once

#include <array>
#include <string>
#include <vector>

#include "store/base/bytes.h"
#include "store/base/result.h"
#include "store/chunk/chunk.h"
#include "store/chunk/fingerprint.h"
#include "store/pack/journal_label.h"

namespace varve {

inline constexpr uint32_t kPackVersion = 1;
inline constexpr uint32_t kHeaderBytes = 64;  // file header, record header, trailer
inline constexpr uint32_t kRecordAlignment = 64;
inline constexpr uint32_t kBlockBytes = 4096;
inline constexpr uint32_t kTableEntryBytes = 32;
inline constexpr uint32_t kTableBaseBytes = 16;  // more, where there is a base
inline constexpr uint32_t kJournalBytesMax = 64u << 20;
// Keeps every offset below 4 GiB, with a journal and a table behind it.
inline constexpr uint32_t kPackBytesTargetMax = 1u << 30;
// The first bytes of a record header, as a little-endian number: "VREC".
inline constexpr uint32_t kRecordMagic = 0x43455256;

constexpr uint64_t AlignDown(uint64_t value, uint64_t alignment) {
  return value - value % alignment;
}
constexpr uint64_t AlignUp(uint64_t value, uint64_t alignment) {
  return AlignDown(value + alignment - 1, alignment);
}

// Values are on disk.
enum class RecordType : uint8_t {
  kChunk = 1,
  kJournal = 2,
  kTable = 3,
};

// A chunk's id, or a journal's label.
using RecordName = std::array<uint8_t, 16>;
RecordName NameOf(const JournalLabel& label);
JournalLabel LabelOf(const RecordName& name);

struct RecordHeader {
  RecordType type = RecordType::kChunk;
  Encoding encoding = Encoding::kRaw;
  uint32_t stored_bytes = 0;  // of the payload
  uint32_t raw_bytes = 0;
  RecordName name{};
  uint64_t payload_hash = 0;
  uint32_t pack = 0;
  uint32_t offset_bytes = 0;
  // All of the pack before this was durable when this record was written: damage
  // there is damage, and behind it may be what a power cut tore.
  uint32_t durable_bytes = 0;
};

struct TableEntry {
  RecordType type = RecordType::kChunk;
  Encoding encoding = Encoding::kRaw;
  uint32_t offset_bytes = 0;
  uint32_t stored_bytes = 0;
  uint32_t raw_bytes = 0;
  RecordName name{};
  ChunkId base{};  // of a chunk that has one; else all zero
};

struct Trailer {
  uint32_t pack = 0;
  uint32_t table_offset_bytes = 0;
  uint32_t records = 0;
};

std::string EncodePackHeader(uint32_t pack, const Fingerprinter& fingerprinter);
Status DecodePackHeader(ByteView bytes, uint32_t pack, const Fingerprinter& fingerprinter);

// Exactly kHeaderBytes. Decoding also fails when the record is not that of `pack`
// at `offset_bytes`, or its sizes are beyond what a record can have.
std::string EncodeRecordHeader(const RecordHeader& header, const Fingerprinter& fingerprinter);
Result<RecordHeader> DecodeRecordHeader(ByteView bytes, uint32_t pack, uint64_t offset_bytes,
                                        const Fingerprinter& fingerprinter);

void EncodeTableEntry(const TableEntry& entry, std::string* table);
// Fails unless all entries lie before `end_bytes`, in ascending order.
Result<std::vector<TableEntry>> DecodeTable(ByteView bytes, uint64_t end_bytes);

std::string EncodeTrailer(const Trailer& trailer, const Fingerprinter& fingerprinter);
Result<Trailer> DecodeTrailer(ByteView bytes, uint32_t pack, const Fingerprinter& fingerprinter);

// False for what no writer ever returned. What is possible fits into a read buffer.
constexpr bool IsPossible(const ChunkLocation& location) {
  return location.pack != 0 && location.raw_bytes >= 1 && location.raw_bytes <= kChunkBytesMax &&
         location.stored_bytes <= location.raw_bytes &&
         HasBase(location.encoding) == (location.base != ChunkId{});
}

// "0000002a.pack", and back; 0 when it is no name of a pack.
std::string PackFileName(uint32_t pack);
uint32_t PackOfFileName(const std::string& name);

}  // namespace varve
