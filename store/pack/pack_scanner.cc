#include "store/pack/pack_scanner.h"

#include <algorithm>

#include "store/pack/pack_limits.h"

namespace varve {
namespace {

// What a power cut never tears.
constexpr size_t kSectorBytes = 512;

bool AllZero(ByteView bytes) {
  return std::all_of(bytes.begin(), bytes.end(), [](uint8_t byte) { return byte == 0; });
}

uint64_t EndOf(const RecordHeader& header) {
  return AlignUp(uint64_t{header.offset_bytes} + kHeaderBytes + header.stored_bytes,
                 kRecordAlignment);
}

}  // namespace

PackScanner::PackScanner(File& file, uint32_t pack, const Fingerprinter& fingerprinter,
                         const PackStore::ScanSink& sink)
    : file_(file), pack_(pack), fingerprinter_(fingerprinter), sink_(sink) {}

Status PackScanner::Scan(bool verify_payload) {
  ASSIGN_OR_RETURN(const struct stat attributes, file_.Stat());
  size_ = static_cast<uint64_t>(attributes.st_size);
  ASSIGN_OR_RETURN(const ByteView start, View(0, kHeaderBytes));
  // Zeros, or a part of it, are what a crash before the first flush leaves. Records do not need the
  // header, so a damaged one does not hide them.
  const Status header = DecodePackHeader(start, pack_, fingerprinter_);
  if (header.code() == Code::kUnsupported) {
    return Status(header.code(), PackFileName(pack_) + ": " + std::string(header.context()));
  }
  const bool torn = start.size() < kHeaderBytes || AllZero(start);
  if (!header.ok() && !torn && sink_.on_damage) {
    sink_.on_damage(0, std::string(header.context()));
  }
  ASSIGN_OR_RETURN(const std::optional<Trailer> trailer, FindTrailer());
  if (trailer && !verify_payload) {
    ASSIGN_OR_RETURN(const bool told, ScanTable(*trailer));
    if (told) return {};
  }
  const uint64_t end = trailer ? trailer->table_offset_bytes : size_;
  RETURN_IF_ERROR(ScanRecords(end, trailer.has_value(), verify_payload));
  for (const auto& [offset, why] : damage_) {
    if (offset < durable_bytes_ && sink_.on_damage) sink_.on_damage(offset, why);
  }
  return verify_payload ? CheckFooter(trailer) : Status();
}

Result<ByteView> PackScanner::View(uint64_t offset, size_t size) {
  if (offset >= size_) return ByteView();
  size = static_cast<size_t>(std::min<uint64_t>(size, size_ - offset));
  if (offset < window_offset_ || offset + size > window_offset_ + window_bytes_) {
    const uint64_t start = AlignDown(offset, kBlockBytes);
    const uint64_t wanted = std::max<uint64_t>(offset + size - start, kScanBytes);
    window_bytes_ = 0;  // as long as the read may fail
    window_offset_ = start;
    ASSIGN_OR_RETURN(const ByteView got,
                     ReadInto(&window_, start, std::min(wanted, size_ - start)));
    window_bytes_ = got.size();
    if (offset - start >= got.size()) return ByteView();
    size = std::min(size, got.size() - static_cast<size_t>(offset - start));
  }
  return ByteView(window_.bytes()).subspan(static_cast<size_t>(offset - window_offset_), size);
}

Result<ByteView> PackScanner::ReadInto(AlignedBuffer* memory, uint64_t offset, size_t size) {
  const uint64_t start = AlignDown(offset, kBlockBytes);
  const auto wanted = static_cast<size_t>(AlignUp(offset + size, kBlockBytes) - start);
  if (sink_.before_read) RETURN_IF_ERROR(sink_.before_read(wanted));
  if (memory->size() < wanted) *memory = AlignedBuffer(wanted);
  ASSIGN_OR_RETURN(const size_t got, file_.ReadAt(start, memory->bytes().first(wanted)));
  const auto skipped = static_cast<size_t>(offset - start);
  if (got <= skipped) return ByteView();
  return ByteView(memory->bytes()).subspan(skipped, std::min(size, got - skipped));
}

Result<std::optional<RecordHeader>> PackScanner::HeaderAt(uint64_t offset) {
  ASSIGN_OR_RETURN(const ByteView bytes, View(offset, kHeaderBytes));
  const Result<RecordHeader> header = DecodeRecordHeader(bytes, pack_, offset, fingerprinter_);
  if (!header.ok() || EndOf(*header) > AlignUp(size_, kRecordAlignment)) {
    return std::optional<RecordHeader>();
  }
  return std::optional<RecordHeader>(*header);
}

Result<std::optional<Trailer>> PackScanner::FindTrailer() {
  if (size_ < 2 * kHeaderBytes) return std::optional<Trailer>();
  AlignedBuffer memory;  // the window stays at the beginning
  ASSIGN_OR_RETURN(const ByteView bytes, ReadInto(&memory, size_ - kHeaderBytes, kHeaderBytes));
  const Result<Trailer> trailer = DecodeTrailer(bytes, pack_, fingerprinter_);
  if (!trailer.ok() || trailer->table_offset_bytes > size_) return std::optional<Trailer>();
  return std::optional<Trailer>(*trailer);
}

Result<std::optional<std::vector<TableEntry>>> PackScanner::ReadTable(const Trailer& trailer) {
  using Entries = std::optional<std::vector<TableEntry>>;
  ASSIGN_OR_RETURN(const std::optional<RecordHeader> header, HeaderAt(trailer.table_offset_bytes));
  if (!header || header->type != RecordType::kTable) return Entries();
  AlignedBuffer memory;
  ASSIGN_OR_RETURN(
      const ByteView table,
      ReadInto(&memory, uint64_t{header->offset_bytes} + kHeaderBytes, header->stored_bytes));
  if (table.size() != header->stored_bytes || fingerprinter_.Hash64(table) != header->payload_hash)
    return Entries();
  Result<std::vector<TableEntry>> entries = DecodeTable(table, trailer.table_offset_bytes);
  if (!entries.ok() || entries->size() != trailer.records) return Entries();
  return Entries(*std::move(entries));
}

Result<bool> PackScanner::ScanTable(const Trailer& trailer) {
  ASSIGN_OR_RETURN(const std::optional<std::vector<TableEntry>> entries, ReadTable(trailer));
  if (!entries) return false;
  durable_bytes_ = trailer.table_offset_bytes;
  for (const TableEntry& entry : *entries) {
    if (entry.type == RecordType::kChunk) {
      if (!sink_.on_chunk) continue;
      sink_.on_chunk(ChunkId{entry.name}, {pack_, entry.offset_bytes, entry.stored_bytes,
                                           entry.raw_bytes, entry.encoding, entry.base});
      continue;
    }
    if (!sink_.on_journal) {
      if (sink_.on_journal_info)
        sink_.on_journal_info({LabelOf(entry.name), entry.offset_bytes, entry.stored_bytes});
      continue;
    }
    ASSIGN_OR_RETURN(const std::optional<RecordHeader> journal, HeaderAt(entry.offset_bytes));
    if (journal) {
      RETURN_IF_ERROR(ScanRecord(*journal, false));
    } else {
      Damage(entry.offset_bytes, "damaged header of a journal");
    }
  }
  for (const auto& [offset, why] : damage_) {
    if (sink_.on_damage) sink_.on_damage(offset, why);
  }
  return true;
}

Status PackScanner::ScanRecords(uint64_t end, bool sealed, bool verify_payload) {
  if (sealed) durable_bytes_ = end;
  uint64_t offset = kHeaderBytes;
  while (offset + kHeaderBytes <= end) {
    ASSIGN_OR_RETURN(const std::optional<RecordHeader> header, HeaderAt(offset));
    if (!header) {
      ASSIGN_OR_RETURN(offset, SkipGap(offset, end, sealed));
      continue;
    }
    durable_bytes_ = std::max<uint64_t>(durable_bytes_, header->durable_bytes);
    RETURN_IF_ERROR(ScanRecord(*header, verify_payload));
    offset = EndOf(*header);
  }
  return {};
}

Status PackScanner::CheckFooter(const std::optional<Trailer>& trailer) {
  if (!sink_.on_damage) return {};
  if (trailer) {
    ASSIGN_OR_RETURN(const std::optional<std::vector<TableEntry>> entries, ReadTable(*trailer));
    if (entries) return {};
    ASSIGN_OR_RETURN(const bool torn, TableIsTorn(trailer->table_offset_bytes));
    if (!torn) sink_.on_damage(trailer->table_offset_bytes, "damaged table of its records");
    return {};
  }
  if (!table_) return {};
  const uint64_t footer_bytes = AlignUp(2 * kHeaderBytes + table_->stored_bytes, kBlockBytes);
  const uint64_t place = table_->offset_bytes + footer_bytes - kHeaderBytes;
  ASSIGN_OR_RETURN(const ByteView bytes, View(place, kHeaderBytes));
  const bool torn = bytes.size() < kHeaderBytes || AllZero(bytes);
  if (!torn) sink_.on_damage(place, "damaged trailer");
  return {};
}

Result<bool> PackScanner::TableIsTorn(uint64_t offset) {
  ASSIGN_OR_RETURN(const std::optional<RecordHeader> header, HeaderAt(offset));
  const size_t size = header ? kHeaderBytes + header->stored_bytes : kSectorBytes;
  AlignedBuffer memory;
  ASSIGN_OR_RETURN(ByteView left, ReadInto(&memory, offset, size));
  if (left.size() < size) return true;
  for (; !left.empty(); left = left.subspan(std::min(left.size(), kSectorBytes)))
    if (AllZero(left.first(std::min(left.size(), kSectorBytes)))) return true;
  return false;
}

Result<uint64_t> PackScanner::SkipGap(uint64_t offset, uint64_t end, bool sealed) {
  // A flush pads with zeros up to a whole block; anything else was a record once.
  const uint64_t block = std::min(AlignUp(offset, kBlockBytes), end);
  ASSIGN_OR_RETURN(const ByteView padding, View(offset, static_cast<size_t>(block - offset)));
  const uint64_t gap = AllZero(padding) ? block : offset;
  for (uint64_t next = gap; next + kHeaderBytes <= end; next += kRecordAlignment) {
    ASSIGN_OR_RETURN(const ByteView bytes, View(next, kHeaderBytes));
    if (ByteReader(bytes).U32() != kRecordMagic) continue;
    ASSIGN_OR_RETURN(const std::optional<RecordHeader> header, HeaderAt(next));
    if (!header) continue;
    if (next != gap) Damage(gap, "no intact record");
    return next;
  }
  if (sealed && gap < end) Damage(gap, "no intact record");
  return end;
}

Status PackScanner::ScanRecord(const RecordHeader& header, bool verify_payload) {
  if (header.type == RecordType::kTable) {
    table_ = header;
    return {};
  }
  ASSIGN_OR_RETURN(const ByteView payload,
                   View(uint64_t{header.offset_bytes} + kHeaderBytes, header.stored_bytes));
  if (payload.size() != header.stored_bytes ||
      fingerprinter_.Hash64(payload) != header.payload_hash) {
    Damage(header.offset_bytes, "payload does not match its hash");
    return {};
  }
  if (header.type == RecordType::kJournal) return TellJournal(header, payload);
  ChunkId base;
  if (HasBase(header.encoding)) {
    const Result<ChunkId> named = BaseOf(payload);
    if (!named.ok()) {
      Damage(header.offset_bytes, std::string(named.status().context()));
      return {};
    }
    base = *named;
  } else if (verify_payload) {
    if (std::string why = VerifyChunk(header, payload); !why.empty()) {
      Damage(header.offset_bytes, std::move(why));
      return {};
    }
  }
  if (sink_.on_chunk) {
    sink_.on_chunk(ChunkId{header.name}, {pack_, header.offset_bytes, header.stored_bytes,
                                          header.raw_bytes, header.encoding, base});
  }
  return {};
}

Status PackScanner::TellJournal(const RecordHeader& header, ByteView payload) {
  const JournalInfo info{LabelOf(header.name), header.offset_bytes, header.stored_bytes};
  if (!sink_.on_journal) {
    if (sink_.on_journal_info) sink_.on_journal_info(info);
    return {};
  }
  std::vector<uint8_t> record(header.raw_bytes);
  if (const Status status = decoder_.Decode(header.encoding, payload, record); !status.ok()) {
    Damage(header.offset_bytes, "journal: " + std::string(status.context()));
    return {};
  }
  if (sink_.on_journal_info) sink_.on_journal_info(info);
  sink_.on_journal(info.label.sequence, record);
  return {};
}

std::string PackScanner::VerifyChunk(const RecordHeader& header, ByteView payload) {
  ByteView bytes = payload;
  if (header.encoding != Encoding::kRaw) {
    raw_.resize(header.raw_bytes);
    const Status status = decoder_.Decode(header.encoding, payload, raw_);
    if (!status.ok()) return std::string(status.context());
    bytes = raw_;
  }
  return fingerprinter_.Name(bytes).bytes == header.name ? "" : "chunk does not match its name";
}

void PackScanner::Damage(uint64_t offset, std::string why) {
  damage_.emplace_back(offset, std::move(why));
}

}  // namespace varve
