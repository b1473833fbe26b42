#include "store/pack/pack_format.h"

#include <algorithm>
#include <string_view>

namespace varve {
namespace {

constexpr std::string_view kPackMagic = "VARVEPAK";
constexpr std::string_view kTrailerMagic = "VARVEEND";
constexpr std::string_view kFileNameEnd = ".pack";
constexpr size_t kFileNameDigits = 8;
// What the hash at the end of a header covers.
constexpr size_t kHashedBytes = kHeaderBytes - sizeof(uint64_t);

// Zeros up to the hash, then the hash.
std::string Finish(std::string header, const Fingerprinter& fingerprinter) {
  header.resize(kHashedBytes, '\0');
  const uint64_t hash = fingerprinter.Hash64(AsBytes(header));
  ByteWriter(&header).U64(hash);
  return header;
}

bool HashHolds(ByteView header, const Fingerprinter& fingerprinter) {
  if (header.size() != kHeaderBytes) return false;
  ByteReader reader(header.subspan(kHashedBytes));
  return reader.U64() == fingerprinter.Hash64(header.first(kHashedBytes));
}

RecordName ReadName(ByteReader& reader) {
  RecordName name{};
  const ByteView bytes = reader.Raw(name.size());
  std::copy(bytes.begin(), bytes.end(), name.begin());
  return name;
}

bool NamesBase(const TableEntry& entry) {
  return entry.type == RecordType::kChunk && HasBase(entry.encoding);
}

bool SizesHold(const RecordHeader& header) {
  if (header.encoding == Encoding::kRaw && header.stored_bytes != header.raw_bytes) return false;
  if (header.stored_bytes > header.raw_bytes) return false;
  switch (header.type) {
    case RecordType::kChunk:
      return header.raw_bytes >= 1 && header.raw_bytes <= kChunkBytesMax;
    case RecordType::kJournal:
      return header.raw_bytes <= kJournalBytesMax;
    case RecordType::kTable:
      return header.raw_bytes % kTableBaseBytes == 0;
  }
  return false;
}

}  // namespace

RecordName NameOf(const JournalLabel& label) {
  std::string bytes;
  ByteWriter writer(&bytes);
  writer.U64(label.sequence);
  writer.U32(label.part);
  writer.U32(label.parts);
  RecordName name{};
  std::copy(bytes.begin(), bytes.end(), name.begin());
  return name;
}

JournalLabel LabelOf(const RecordName& name) {
  ByteReader reader{ByteView(name)};
  JournalLabel label;
  label.sequence = reader.U64();
  label.part = reader.U32();
  label.parts = reader.U32();
  return label;
}

std::string EncodePackHeader(uint32_t pack, const Fingerprinter& fingerprinter) {
  std::string header(kPackMagic);
  ByteWriter writer(&header);
  writer.U32(kPackVersion);
  writer.U32(pack);
  return Finish(std::move(header), fingerprinter);
}

Status DecodePackHeader(ByteView bytes, uint32_t pack, const Fingerprinter& fingerprinter) {
  ByteReader reader(bytes);
  const std::string_view magic = AsText(reader.Raw(kPackMagic.size()));
  const uint32_t version = reader.U32();
  const uint32_t number = reader.U32();
  if (!reader.ok() || magic != kPackMagic) return Status(Code::kCorrupt, "not a pack file");
  // Before the hash: a later version may keep it elsewhere.
  if (version > kPackVersion) {
    return Status(Code::kUnsupported, "pack format version " + std::to_string(version) +
                                          "; this program knows up to " +
                                          std::to_string(kPackVersion));
  }
  if (!HashHolds(bytes, fingerprinter)) {
    return Status(Code::kCorrupt, "pack header is damaged or of another store");
  }
  if (number != pack) return Status(Code::kCorrupt, "is pack " + std::to_string(number));
  return {};
}

std::string EncodeRecordHeader(const RecordHeader& header, const Fingerprinter& fingerprinter) {
  std::string bytes;
  bytes.reserve(kHeaderBytes);
  ByteWriter writer(&bytes);
  writer.U32(kRecordMagic);
  writer.U8(static_cast<uint8_t>(header.type));
  writer.U8(static_cast<uint8_t>(header.encoding));
  writer.U16(0);
  writer.U32(header.stored_bytes);
  writer.U32(header.raw_bytes);
  writer.Raw(header.name);
  writer.U64(header.payload_hash);
  writer.U32(header.pack);
  writer.U32(header.offset_bytes);
  writer.U32(header.durable_bytes);
  return Finish(std::move(bytes), fingerprinter);
}

Result<RecordHeader> DecodeRecordHeader(ByteView bytes, uint32_t pack, uint64_t offset_bytes,
                                        const Fingerprinter& fingerprinter) {
  ByteReader reader(bytes);
  if (reader.U32() != kRecordMagic) return Status(Code::kCorrupt, "no record header");
  if (!HashHolds(bytes, fingerprinter)) return Status(Code::kCorrupt, "damaged record header");
  RecordHeader header;
  header.type = static_cast<RecordType>(reader.U8());
  header.encoding = static_cast<Encoding>(reader.U8());
  reader.U16();
  header.stored_bytes = reader.U32();
  header.raw_bytes = reader.U32();
  header.name = ReadName(reader);
  header.payload_hash = reader.U64();
  header.pack = reader.U32();
  header.offset_bytes = reader.U32();
  header.durable_bytes = reader.U32();
  if (header.pack != pack || header.offset_bytes != offset_bytes) {
    return Status(Code::kCorrupt, "record of another place");
  }
  if (!SizesHold(header)) return Status(Code::kCorrupt, "record of impossible size");
  return header;
}

void EncodeTableEntry(const TableEntry& entry, std::string* table) {
  ByteWriter writer(table);
  writer.U8(static_cast<uint8_t>(entry.type));
  writer.U8(static_cast<uint8_t>(entry.encoding));
  writer.U16(0);
  writer.U32(entry.offset_bytes);
  writer.U32(entry.stored_bytes);
  writer.U32(entry.raw_bytes);
  writer.Raw(entry.name);
  if (NamesBase(entry)) writer.Raw(entry.base.bytes);
}

Result<std::vector<TableEntry>> DecodeTable(ByteView bytes, uint64_t end_bytes) {
  std::vector<TableEntry> entries;
  entries.reserve(bytes.size() / kTableEntryBytes);
  ByteReader reader(bytes);
  uint64_t end_of_previous = kHeaderBytes;
  while (reader.remaining() > 0) {
    TableEntry entry;
    entry.type = static_cast<RecordType>(reader.U8());
    entry.encoding = static_cast<Encoding>(reader.U8());
    reader.U16();
    entry.offset_bytes = reader.U32();
    entry.stored_bytes = reader.U32();
    entry.raw_bytes = reader.U32();
    entry.name = ReadName(reader);
    if (NamesBase(entry)) entry.base.bytes = ReadName(reader);
    const uint64_t end = uint64_t{entry.offset_bytes} + kHeaderBytes + entry.stored_bytes;
    if (!reader.ok() || entry.offset_bytes % kRecordAlignment != 0 ||
        entry.offset_bytes < end_of_previous || end > end_bytes) {
      return Status(Code::kCorrupt, "impossible table of records");
    }
    end_of_previous = end;
    entries.push_back(entry);
  }
  return entries;
}

std::string EncodeTrailer(const Trailer& trailer, const Fingerprinter& fingerprinter) {
  std::string bytes(kTrailerMagic);
  ByteWriter writer(&bytes);
  writer.U32(trailer.pack);
  writer.U32(trailer.table_offset_bytes);
  writer.U32(trailer.records);
  return Finish(std::move(bytes), fingerprinter);
}

Result<Trailer> DecodeTrailer(ByteView bytes, uint32_t pack, const Fingerprinter& fingerprinter) {
  ByteReader reader(bytes);
  const std::string_view magic = AsText(reader.Raw(kTrailerMagic.size()));
  Trailer trailer;
  trailer.pack = reader.U32();
  trailer.table_offset_bytes = reader.U32();
  trailer.records = reader.U32();
  if (!reader.ok() || magic != kTrailerMagic || !HashHolds(bytes, fingerprinter) ||
      trailer.pack != pack) {
    return Status(Code::kCorrupt, "no trailer");
  }
  return trailer;
}

std::string PackFileName(uint32_t pack) {
  constexpr std::string_view kDigits = "0123456789abcdef";
  std::string name(kFileNameDigits, '0');
  for (size_t i = kFileNameDigits; i > 0; --i, pack >>= 4) name[i - 1] = kDigits[pack & 15];
  return name.append(kFileNameEnd);
}

uint32_t PackOfFileName(const std::string& name) {
  if (name.size() != kFileNameDigits + kFileNameEnd.size() || !name.ends_with(kFileNameEnd)) {
    return 0;
  }
  uint32_t pack = 0;
  for (size_t i = 0; i < kFileNameDigits; ++i) {
    const char digit = name[i];
    if (digit >= '0' && digit <= '9') {
      pack = pack << 4 | static_cast<uint32_t>(digit - '0');
    } else if (digit >= 'a' && digit <= 'f') {
      pack = pack << 4 | static_cast<uint32_t>(digit - 'a' + 10);
    } else {
      return 0;
    }
  }
  return pack;
}

}  // namespace varve
