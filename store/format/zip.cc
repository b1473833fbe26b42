#include "store/format/zip.h"

#include <algorithm>

#include "store/base/bytes.h"

namespace varve {
namespace {

constexpr uint32_t kLocalSignature = 0x04034b50;
constexpr uint32_t kEntrySignature = 0x02014b50;
constexpr uint32_t kEndSignature = 0x06054b50;
constexpr uint32_t kEnd64Signature = 0x06064b50;
constexpr uint32_t kLocator64Signature = 0x07064b50;
constexpr size_t kLocalBytes = 30;
constexpr size_t kEntryBytes = 46;
constexpr size_t kEndBytes = 22;
constexpr size_t kEnd64Bytes = 56;
constexpr size_t kLocator64Bytes = 20;
constexpr size_t kCommentBytesMax = 0xffff;
constexpr uint16_t kZip64Extra = 1;
constexpr uint16_t kEncryptedFlag = 1;

// Follows the locator before the end record, if there is one, to the 64-bit record.
Result<std::optional<ZipDirectory>> Directory64(ByteSource& source, uint64_t end_offset) {
  using Found = std::optional<ZipDirectory>;
  if (end_offset < kLocator64Bytes) return Found();
  uint8_t locator[kLocator64Bytes];
  ASSIGN_OR_RETURN(size_t got, source.ReadAt(end_offset - kLocator64Bytes, locator));
  ByteReader in(ByteView(locator, got));
  if (in.U32() != kLocator64Signature) return Found();
  in.U32();
  const uint64_t record_offset = in.U64();
  const uint64_t record_end = end_offset - kLocator64Bytes;
  if (record_end < kEnd64Bytes || record_offset > record_end - kEnd64Bytes) return Found();

  uint8_t record[kEnd64Bytes];
  ASSIGN_OR_RETURN(got, source.ReadAt(record_offset, record));
  ByteReader fields(ByteView(record, got));
  const bool sound = fields.U32() == kEnd64Signature;
  fields.Raw(28);
  ZipDirectory directory;
  directory.entries = fields.U64();
  directory.size_bytes = fields.U64();
  directory.offset_bytes = fields.U64();
  if (!sound || !fields.ok() || directory.offset_bytes > record_offset ||
      directory.size_bytes != record_offset - directory.offset_bytes)
    return Found();
  return Found(directory);
}

// Searches the last `tail_bytes` for the record.
Result<std::optional<ZipDirectory>> DirectoryInTail(ByteSource& source, size_t tail_bytes) {
  using Found = std::optional<ZipDirectory>;
  const uint64_t size = source.size_bytes();
  std::string tail(static_cast<size_t>(std::min<uint64_t>(size, tail_bytes)), '\0');
  const uint64_t tail_begin = size - tail.size();
  ASSIGN_OR_RETURN(
      const size_t got,
      source.ReadAt(tail_begin, {reinterpret_cast<uint8_t*>(tail.data()), tail.size()}));
  if (got != tail.size() || got < kEndBytes) return Found();
  for (size_t at = tail.size() - kEndBytes + 1; at-- > 0;) {
    ByteReader in(AsBytes(tail).subspan(at));
    if (in.U32() != kEndSignature) continue;
    in.Raw(6);
    ZipDirectory directory;
    directory.entries = in.U16();
    directory.size_bytes = in.U32();
    directory.offset_bytes = in.U32();
    const size_t comment_bytes = in.U16();
    if (!in.ok() || in.remaining() != comment_bytes) continue;
    const uint64_t end_offset = tail_begin + at;
    ASSIGN_OR_RETURN(const Found wide, Directory64(source, end_offset));
    if (wide) return wide;
    if (directory.offset_bytes <= end_offset &&
        directory.size_bytes == end_offset - directory.offset_bytes)
      return Found(directory);
  }
  return Found();
}

struct EntrySizes {
  uint64_t stored_bytes = 0;
  uint64_t local_offset = 0;
};

// Takes from the zip64 extra field what did not fit into 32 bits.
bool Widen(ByteView extra, uint32_t raw_bytes, EntrySizes* sizes) {
  constexpr uint32_t kElsewhere = 0xffffffff;
  if (raw_bytes != kElsewhere && sizes->stored_bytes != kElsewhere &&
      sizes->local_offset != kElsewhere)
    return true;
  ByteReader in(extra);
  while (in.ok() && in.remaining() >= 4) {
    const uint16_t id = in.U16();
    ByteReader field(in.Raw(in.U16()));
    if (id != kZip64Extra) continue;
    if (raw_bytes == kElsewhere) field.U64();
    if (sizes->stored_bytes == kElsewhere) sizes->stored_bytes = field.U64();
    if (sizes->local_offset == kElsewhere) sizes->local_offset = field.U64();
    return field.ok();
  }
  return false;
}

// The fixed part of a directory entry.
struct EntryHeader {
  bool sound = false;
  bool stored = false;
  EntrySizes sizes;
  uint32_t raw_bytes = 0;
  size_t name_bytes = 0;
  size_t extra_bytes = 0;
  size_t comment_bytes = 0;
};

EntryHeader ParseEntry(ByteView fixed) {
  EntryHeader header;
  ByteReader in(fixed);
  const bool signature = in.U32() == kEntrySignature;
  in.Raw(4);
  const bool encrypted = (in.U16() & kEncryptedFlag) != 0;
  header.stored = in.U16() == 0 && !encrypted;
  in.Raw(8);
  header.sizes.stored_bytes = in.U32();
  header.raw_bytes = in.U32();
  header.name_bytes = in.U16();
  header.extra_bytes = in.U16();
  header.comment_bytes = in.U16();
  in.Raw(8);
  header.sizes.local_offset = in.U32();
  header.sound = in.ok() && signature;
  return header;
}

}  // namespace

// The name in the file's first local header; nothing when it is no zip.
Result<std::optional<std::string>> FirstZipName(ByteSource& source) {
  uint8_t bytes[kLocalBytes + 256];
  ASSIGN_OR_RETURN(const size_t got, source.ReadAt(0, bytes));
  ByteReader in(ByteView(bytes, got));
  const bool zip = in.U32() == kLocalSignature;
  in.Raw(22);
  const size_t name_bytes = in.U16();
  in.U16();
  if (!in.ok() || !zip) return std::optional<std::string>();
  return std::optional<std::string>(AsText(in.Raw(std::min(name_bytes, in.remaining()))));
}

Result<std::optional<ZipDirectory>> FindZipDirectory(ByteSource& source) {
  using Found = std::optional<ZipDirectory>;
  // Most have no comment; only the others cost a search.
  ASSIGN_OR_RETURN(const Found at_end, DirectoryInTail(source, kEndBytes));
  if (at_end) return at_end;
  return DirectoryInTail(source, kEndBytes + kCommentBytesMax);
}
Result<bool> ZipWalk::Next(ZipEntry* entry) {
  const uint64_t end = directory_.offset_bytes + directory_.size_bytes;
  sound_ = offset_ == end && entries_ == directory_.entries;
  if (offset_ >= end) return false;
  ASSIGN_OR_RETURN(const ByteView fixed, source_.Get(offset_, kEntryBytes));
  EntryHeader header = ParseEntry(fixed);
  if (!header.sound) return false;
  const uint64_t name_begin = offset_ + kEntryBytes;
  const uint64_t next = name_begin + header.name_bytes + header.extra_bytes + header.comment_bytes;
  if (next > end) return false;

  ASSIGN_OR_RETURN(const ByteView name, source_.Get(name_begin, header.name_bytes));
  entry->name = AsText(name);
  ASSIGN_OR_RETURN(const ByteView extra,
                   source_.Get(name_begin + header.name_bytes, header.extra_bytes));
  if (extra.size() != header.extra_bytes || !Widen(extra, header.raw_bytes, &header.sizes))
    return false;
  entry->stored = header.stored;
  entry->stored_bytes = header.sizes.stored_bytes;
  entry->local_offset = header.sizes.local_offset;
  // Its header, name and bytes lie before the directory.
  const uint64_t begin = directory_.offset_bytes;
  if (entry->local_offset > begin || begin - entry->local_offset < kLocalBytes ||
      entry->stored_bytes > begin - entry->local_offset - kLocalBytes)
    return false;
  offset_ = next;
  ++entries_;
  return true;
}

Result<std::optional<uint64_t>> FindZipBegin(ByteSource& source) {
  using Found = std::optional<uint64_t>;
  constexpr size_t kTailBytes = kEndBytes + kLocator64Bytes;
  const uint64_t size = source.size_bytes();
  uint8_t bytes[kTailBytes];
  const uint64_t tail_begin = size - std::min<uint64_t>(size, kTailBytes);
  ASSIGN_OR_RETURN(const size_t got, source.ReadAt(tail_begin, bytes));
  if (got < kEndBytes || tail_begin + got != size) return Found();
  ByteReader end(ByteView(bytes, got).last(kEndBytes));
  if (end.U32() != kEndSignature) return Found();
  end.Raw(8);
  const uint64_t directory_bytes = end.U32();
  const uint64_t directory_offset = end.U32();
  if (end.U16() != 0) return Found();

  uint64_t before = size - kEndBytes;
  uint64_t length = directory_bytes + directory_offset;
  ByteReader locator(ByteView(bytes, got - kEndBytes));
  if (locator.U32() == kLocator64Signature) {
    locator.U32();
    length = locator.U64();
    if (before < kLocator64Bytes + kEnd64Bytes) return Found();
    before -= kLocator64Bytes + kEnd64Bytes;
  }
  if (length > before) return Found();
  return Found(before - length);
}

Result<ZipTable> ZipTable::Read(ByteSource& source, const ZipDirectory& directory) {
  ZipTable table;
  std::vector<uint64_t> local_offsets;
  ZipWalk walk(source, directory);
  ZipEntry entry;
  while (true) {
    ASSIGN_OR_RETURN(const bool more, walk.Next(&entry));
    if (!more) break;
    if (table.rows_.size() >= kEntriesMax ||
        table.names_.size() + entry.name.size() > kNamesBytesMax) {
      table.Refuse("the zip has too many entries");
      return table;
    }
    Row row;
    ASSIGN_OR_RETURN(const bool sound, table.Resolve(source, entry, &row));
    if (!sound || row.end_bytes > directory.offset_bytes) {
      table.Refuse("an entry of the zip is not where its directory says");
      return table;
    }
    table.rows_.push_back(row);
    local_offsets.push_back(entry.local_offset);
  }
  if (!walk.sound()) {
    table.Refuse("the directory at the end of the zip is damaged");
    return table;
  }
  table.Check(std::move(local_offsets));
  return table;
}

// Reads the local header, which names the entry again.
Result<bool> ZipTable::Resolve(ByteSource& source, const ZipEntry& entry, Row* row) {
  std::string local(kLocalBytes + entry.name.size(), '\0');
  ASSIGN_OR_RETURN(
      const size_t got,
      source.ReadAt(entry.local_offset, {reinterpret_cast<uint8_t*>(local.data()), local.size()}));
  ByteReader in(AsBytes(local).first(got));
  const bool signature = in.U32() == kLocalSignature;
  in.Raw(22);
  const uint64_t name_bytes = in.U16();
  const uint64_t extra_bytes = in.U16();
  const bool named = name_bytes == entry.name.size() && AsText(in.Raw(name_bytes)) == entry.name;
  if (!signature || !named || !in.ok()) return false;
  row->begin_bytes = entry.local_offset + kLocalBytes + name_bytes + extra_bytes;
  row->end_bytes = row->begin_bytes + entry.stored_bytes;
  row->name_begin = static_cast<uint32_t>(names_.size());
  row->name_bytes = static_cast<uint16_t>(name_bytes);
  row->stored = entry.stored;
  names_ += entry.name;
  return true;
}

// Sorts, and refuses what no writer of zips does.
void ZipTable::Check(std::vector<uint64_t> local_offsets) {
  std::sort(local_offsets.begin(), local_offsets.end());
  std::sort(rows_.begin(), rows_.end(),
            [](const Row& a, const Row& b) { return a.begin_bytes < b.begin_bytes; });
  for (size_t i = 1; i < rows_.size(); ++i) {
    if (rows_[i - 1].end_bytes > local_offsets[i])
      return Refuse("entries of the zip lie on top of each other");
  }
  std::sort(rows_.begin(), rows_.end(),
            [this](const Row& a, const Row& b) { return Name(a) < Name(b); });
  for (size_t i = 1; i < rows_.size(); ++i) {
    if (Name(rows_[i - 1]) == Name(rows_[i])) return Refuse("the zip has one name twice");
  }
}

void ZipTable::Refuse(std::string problem) {
  rows_ = {};
  names_ = {};
  problem_ = std::move(problem);
}

std::optional<ZipRange> ZipTable::Find(std::string_view name) const {
  const auto row =
      std::lower_bound(rows_.begin(), rows_.end(), name,
                       [this](const Row& a, std::string_view n) { return Name(a) < n; });
  if (row == rows_.end() || Name(*row) != name || !row->stored) return std::nullopt;
  return ZipRange{row->begin_bytes, row->end_bytes};
}

}  // namespace varve
