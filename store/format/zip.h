// The directory of a zip file, and where the bytes of its entries lie.
//
// The record at the end of the file names the directory, the directory names the entries; zip64
// where it is needed. Sizes in local headers may be zero (data descriptors), so only the directory
// is believed; the local header says where its entry's bytes begin.
//
// Source: PKWARE APPNOTE.TXT 6.3, sections 4.3.7 to 4.3.16 and 4.5.3.
//         https://pkware.cachefly.net/webdocs/casestudies/APPNOTE.TXT
//
// Threads: free functions and values.
// Errors:  only those of the source.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "store/base/result.h"
#include "store/format/byte_source.h"

namespace varve {

// The directory of a zip, as the record at the end of the file describes it.
struct ZipDirectory {
  uint64_t offset_bytes = 0;
  uint64_t size_bytes = 0;
  uint64_t entries = 0;
};

// Nothing when there is no such record, or it describes what is not in the file.
Result<std::optional<ZipDirectory>> FindZipDirectory(ByteSource& source);

// Where a zip begins that ends with the source and has no comment; nothing when none ends there.
// For zips behind other bytes: their offsets count from their own beginning.
Result<std::optional<uint64_t>> FindZipBegin(ByteSource& source);

// The name in the file's first local header; nothing when it is no zip.
Result<std::optional<std::string>> FirstZipName(ByteSource& source);

struct ZipEntry {
  std::string name;
  bool stored = false;  // neither compressed nor encrypted
  uint64_t stored_bytes = 0;
  uint64_t local_offset = 0;
};

// The directory's entries, one after the other.
class ZipWalk {
 public:
  ZipWalk(ByteSource& source, const ZipDirectory& directory)
      : source_(source), directory_(directory), offset_(directory.offset_bytes) {}

  // Fills in the next entry, which lies before the directory; false at the end, or where the
  // directory is damaged.
  Result<bool> Next(ZipEntry* entry);

  // After the end: whether all was as the record says.
  bool sound() const { return sound_; }
  uint64_t walked_bytes() const { return offset_ - directory_.offset_bytes; }

 private:
  BufferedSource source_;
  const ZipDirectory directory_;
  uint64_t offset_;
  uint64_t entries_ = 0;
  bool sound_ = false;
};

struct ZipRange {
  uint64_t begin_bytes = 0;
  uint64_t end_bytes = 0;
};

// The entries by name, with their bytes' ranges as the local headers give them.
class ZipTable {
 public:
  struct Row {
    uint64_t begin_bytes = 0;
    uint64_t end_bytes = 0;
    uint32_t name_begin = 0;
    uint16_t name_bytes = 0;
    bool stored = false;
  };

  // REQUIRES: `directory` was found in `source`.
  static Result<ZipTable> Read(ByteSource& source, const ZipDirectory& directory);

  // Why the table is empty: entries on top of each other, one name twice, local headers that are
  // none, or more than kEntriesMax entries.
  const std::string& problem() const { return problem_; }
  const std::vector<Row>& rows() const { return rows_; }  // by name
  std::string_view Name(const Row& row) const {
    return std::string_view(names_).substr(row.name_begin, row.name_bytes);
  }
  // Of a stored entry.
  std::optional<ZipRange> Find(std::string_view name) const;

  static constexpr size_t kEntriesMax = 1u << 18;
  static constexpr size_t kNamesBytesMax = 8u << 20;

 private:
  Result<bool> Resolve(ByteSource& source, const ZipEntry& entry, Row* row);
  void Check(std::vector<uint64_t> local_offsets);
  void Refuse(std::string problem);

  std::vector<Row> rows_;
  std::string names_;
  std::string problem_;
};

}  // namespace varve
