#include "index/log_format.h"

#include <algorithm>
#include <cstring>

#include "store/base/checksum.h"

namespace varve {
namespace {

constexpr std::string_view kLogMagic = "VARVELOG";
constexpr uint32_t kLogVersion = 1;
constexpr size_t kLogHeaderBytes = 32;  // of the block; the rest is zeros
constexpr uint32_t kBatchRecord = 1;    // the only kind so far
constexpr uint32_t kIndexVersion = 1;

Status NewerFormat(std::string_view what, uint32_t version) {
  return Status(Code::kUnsupported, std::string(what) + " format " + std::to_string(version) +
                                        " was written by a newer program");
}

}  // namespace

std::string EncodeLogHeader(uint64_t generation) {
  std::string block(kLogMagic);
  ByteWriter writer(&block);
  writer.U32(kLogVersion);
  writer.U32(0);
  writer.U64(generation);
  writer.U64(Checksum64(AsBytes(block)));
  block.resize(kLogBlockBytes, '\0');
  return block;
}

Result<std::optional<uint64_t>> DecodeLogHeader(ByteView block) {
  if (block.size() < kLogHeaderBytes ||
      std::all_of(block.begin(), block.begin() + kLogHeaderBytes, [](uint8_t b) { return b == 0; }))
    return std::optional<uint64_t>();
  ByteReader reader(block);
  const std::string_view magic = AsText(reader.Raw(kLogMagic.size()));
  const uint32_t version = reader.U32();
  reader.U32();
  const uint64_t generation = reader.U64();
  const uint64_t checksum = reader.U64();
  if (magic != kLogMagic) return Status(Code::kCorrupt, "not a log segment");
  // Told apart before the checksum, which a newer format may place elsewhere.
  if (version > kLogVersion) return NewerFormat("log", version);
  if (checksum != Checksum64(block.first(kLogHeaderBytes - 8)))
    return Status(Code::kCorrupt, "log segment header");
  return std::optional<uint64_t>(generation);
}

void SealRecord(uint64_t sequence, uint64_t generation, std::string* record) {
  std::string header;
  ByteWriter writer(&header);
  writer.U64(0);
  writer.U32(static_cast<uint32_t>(record->size() - kRecordHeaderBytes));
  writer.U32(kBatchRecord);
  writer.U64(sequence);
  writer.U64(generation);
  std::memcpy(record->data(), header.data(), kRecordHeaderBytes);
  header.clear();
  writer.U64(Checksum64(AsBytes(*record).subspan(8)));
  std::memcpy(record->data(), header.data(), 8);
}

std::optional<RecordHeader> DecodeRecordHeader(ByteView header) {
  ByteReader reader(header);
  RecordHeader decoded;
  decoded.checksum = reader.U64();
  decoded.body_bytes = reader.U32();
  const uint32_t kind = reader.U32();
  decoded.sequence = reader.U64();
  decoded.generation = reader.U64();
  if (!reader.ok() || kind != kBatchRecord || decoded.body_bytes > kBatchBytesMax)
    return std::nullopt;
  return decoded;
}

bool RecordIsIntact(ByteView record) {
  ByteReader reader(record);
  const uint64_t checksum = reader.U64();
  return reader.ok() && checksum == Checksum64(record.subspan(8));
}

Status CheckBatch(const Batch& batch) {
  uint64_t bytes = 0;
  for (const Batch::Change& change : batch.changes()) {
    if (change.key.empty() || change.key.size() > kKeyBytesMax || change.key.front() == '\0')
      return Status(Code::kInvalid, "catalog key");
    const size_t value_bytes = change.value ? change.value->size() : 0;
    if (value_bytes > kValueBytesMax) return Status(Code::kInvalid, "catalog value too large");
    bytes += change.key.size() + value_bytes + 8;  // 8: at most this much for both lengths
  }
  if (bytes > kBatchBytesMax) return Status(Code::kInvalid, "catalog batch too large");
  return {};
}

void EncodeBatch(const Batch& batch, std::string* out) {
  ByteWriter writer(out);
  for (const Batch::Change& change : batch.changes()) {
    writer.Text(change.key);
    writer.Varint(change.value ? change.value->size() + 1 : 0);
    if (change.value) writer.Raw(AsBytes(*change.value));
  }
}

Status DecodeBatch(ByteView body, const VisitChangeFn& visit) {
  ByteReader reader(body);
  while (reader.remaining() > 0) {
    const std::string_view key = reader.Text();
    const uint64_t tag = reader.Varint();
    std::optional<std::string_view> value;
    if (tag > 0) value = AsText(reader.Raw(tag - 1));
    if (!reader.ok() || key.empty()) return Status(Code::kCorrupt, "batch in the log");
    visit(key, value);
  }
  return {};
}

std::string EncodeLogMark(const LogMark& mark) {
  std::string value;
  ByteWriter writer(&value);
  writer.U32(kIndexVersion);
  writer.U32(mark.next.segment);
  writer.U64(mark.sequence);
  writer.U64(mark.generation);
  writer.U64(mark.next.offset_bytes);
  return value;
}

Result<LogMark> DecodeLogMark(std::string_view value) {
  ByteReader reader(value);
  const uint32_t version = reader.U32();
  if (reader.ok() && version > kIndexVersion) return NewerFormat("index", version);
  LogMark mark;
  mark.next.segment = reader.U32();
  mark.sequence = reader.U64();
  mark.generation = reader.U64();
  mark.next.offset_bytes = reader.U64();
  if (!reader.Done() || version == 0 || mark.next.segment >= kLogSegments ||
      mark.next.offset_bytes < kLogBlockBytes)
    return Status(Code::kCorrupt, "index: the mark of the log");
  return mark;
}

}  // namespace varve
