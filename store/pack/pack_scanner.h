// Reads one pack from its first to its last record, whatever state it is in.
//
// A sealed pack is told by its table, unless payloads are to be verified. In an
// unsealed one every record is read and its hash checked; behind something that
// is no record the scan goes on at the next header that can be believed. What
// lies behind the last durable byte that a later record knows of, and is no
// record, is what a crash tore, and no damage.
//
// The table of a sealed pack says nothing that the records do not; where payloads are
// verified it is, too. It is not flushed when it is written: one that lacks a whole sector,
// or its end, is what a power cut left, and no damage.
//
// Threads: one.
// Errors:  kUnsupported for a later version of the format; the disk's own. Damage
//          is told to the sink.
// Memory:  kScanBytes, or the longest record of the pack.
// Format:  docs/FORMAT.md, "Pack file".
#pragma once

#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "store/base/disk.h"
#include "store/codec/codec.h"
#include "store/pack/aligned_buffer.h"
#include "store/pack/pack_format.h"
#include "store/pack/pack_store.h"

namespace varve {

class PackScanner {
 public:
  // `file` may be opened with O_DIRECT.
  PackScanner(File& file, uint32_t pack, const Fingerprinter& fingerprinter,
              const PackStore::ScanSink& sink);

  Status Scan(bool verify_payload);

 private:
  // Bytes [offset, offset + size), fewer at the end of the file. Valid until the next call.
  Result<ByteView> View(uint64_t offset, size_t size);
  // The same, into memory that the caller keeps. Reads whole blocks.
  Result<ByteView> ReadInto(AlignedBuffer* memory, uint64_t offset, size_t size);
  // Nothing where no intact record header is.
  Result<std::optional<RecordHeader>> HeaderAt(uint64_t offset);
  Result<std::optional<Trailer>> FindTrailer();

  // Nothing when it is damaged.
  Result<std::optional<std::vector<TableEntry>>> ReadTable(const Trailer& trailer);
  // False when the table is damaged; then nothing was told.
  Result<bool> ScanTable(const Trailer& trailer);
  // After ScanRecords().
  Status CheckFooter(const std::optional<Trailer>& trailer);
  Result<bool> TableIsTorn(uint64_t offset);
  Status ScanRecords(uint64_t end, bool sealed, bool verify_payload);
  // From `offset`, where no record is, to the next one or the end.
  Result<uint64_t> SkipGap(uint64_t offset, uint64_t end, bool sealed);
  Status ScanRecord(const RecordHeader& header, bool verify_payload);
  Status TellJournal(const RecordHeader& header, ByteView payload);
  // Why the chunk is not what its name says, or "".
  std::string VerifyChunk(const RecordHeader& header, ByteView payload);
  void Damage(uint64_t offset, std::string why);

  File& file_;
  const uint32_t pack_;
  const Fingerprinter& fingerprinter_;
  const PackStore::ScanSink& sink_;
  Decoder decoder_;

  uint64_t size_ = 0;
  AlignedBuffer window_;
  uint64_t window_offset_ = 0;
  size_t window_bytes_ = 0;
  std::vector<uint8_t> raw_;
  uint64_t durable_bytes_ = 0;
  std::optional<RecordHeader> table_;  // that ScanRecords() met
  std::vector<std::pair<uint64_t, std::string>> damage_;
};

}  // namespace varve
