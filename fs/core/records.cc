#include "fs/core/records.h"

#include "store/base/bytes.h"

namespace varve {
namespace {

constexpr uint8_t kLayout = 1;
constexpr uint8_t kContentLayout = 2;
constexpr uint8_t kEntryOfMoment = 2;  // a directory entry with a moment

void PutTime(ByteWriter* out, const struct timespec& time) {
  out->U64(static_cast<uint64_t>(time.tv_sec));
  out->U32(static_cast<uint32_t>(time.tv_nsec));
}

struct timespec GetTime(ByteReader* in) {
  struct timespec time {};
  time.tv_sec = static_cast<time_t>(in->U64());
  time.tv_nsec = static_cast<long>(in->U32());
  return time;
}

Status Damaged(const char* what) {
  return Status(Code::kCorrupt, std::string("a record of the index is damaged: ") + what);
}

}  // namespace

std::string InodeRecord::Encode() const {
  std::string bytes;
  bytes.reserve(128);
  ByteWriter out(&bytes);
  out.U8(kLayout);
  out.U32(mode);
  out.U32(uid);
  out.U32(gid);
  out.U32(links);
  out.U64(device);
  out.U64(size_bytes);
  PutTime(&out, access_time);
  PutTime(&out, modify_time);
  PutTime(&out, change_time);
  PutTime(&out, birth_time);
  out.Varint(content);
  out.Varint(history);
  out.Varint(parent);
  out.Varint(hole_bytes);
  out.Text(name);
  return bytes;
}

Result<InodeRecord> InodeRecord::Decode(std::string_view bytes) {
  ByteReader in(bytes);
  InodeRecord record;
  const bool known = in.U8() == kLayout;
  record.mode = in.U32();
  record.uid = in.U32();
  record.gid = in.U32();
  record.links = in.U32();
  record.device = in.U64();
  record.size_bytes = in.U64();
  record.access_time = GetTime(&in);
  record.modify_time = GetTime(&in);
  record.change_time = GetTime(&in);
  record.birth_time = GetTime(&in);
  record.content = in.Varint();
  record.history = in.Varint();
  record.parent = in.Varint();
  record.hole_bytes = in.Varint();
  record.name = in.Text();
  if (!known || !in.Done()) return Damaged("inode");
  return record;
}

std::string DirentRecord::Encode() const {
  std::string bytes;
  ByteWriter out(&bytes);
  out.U8(moment == 0 ? kLayout : kEntryOfMoment);
  out.U8(static_cast<uint8_t>(type >> 12));
  out.Varint(inode);
  if (moment != 0) out.Varint(moment);
  out.Raw(AsBytes(name));
  return bytes;
}

Result<DirentRecord> DirentRecord::Decode(std::string_view bytes) {
  ByteReader in(bytes);
  DirentRecord record;
  const uint8_t layout = in.U8();
  const bool known = layout == kLayout || layout == kEntryOfMoment;
  record.type = static_cast<mode_t>(in.U8()) << 12;
  record.inode = in.Varint();
  if (layout == kEntryOfMoment) record.moment = in.Varint();
  record.name = AsText(in.Raw(in.remaining()));
  if (!known || !in.Done() || record.name.empty() != record.gone())
    return Damaged("directory entry");
  return record;
}

std::string ContentRecord::Encode() const {
  std::string bytes;
  ByteWriter out(&bytes);
  out.U8(kContentLayout);
  unsigned flags = 0;
  unsigned bit = 0;
  for (const bool flag : {captured, stored, durable, overlay, torn, complete, shared, purged})
    flags |= static_cast<unsigned>(flag) << bit++;
  out.U8(static_cast<uint8_t>(flags));
  out.U8(static_cast<uint8_t>(format));
  out.Varint(stage);
  out.Varint(base);
  out.Varint(replaced);
  out.Varint(size_bytes);
  out.Varint(inode);
  out.Text(incomplete_reason);
  return bytes;
}

Result<ContentRecord> ContentRecord::Decode(std::string_view bytes) {
  ByteReader in(bytes);
  ContentRecord record;
  const bool known = in.U8() == kContentLayout;
  const unsigned flags = in.U8();
  unsigned bit = 0;
  for (bool* flag : {&record.captured, &record.stored, &record.durable, &record.overlay,
                     &record.torn, &record.complete, &record.shared, &record.purged})
    *flag = (flags >> bit++ & 1) != 0;
  record.format = static_cast<ContentFormat>(in.U8());
  record.stage = in.Varint();
  record.base = in.Varint();
  record.replaced = in.Varint();
  record.size_bytes = in.Varint();
  record.inode = in.Varint();
  record.incomplete_reason = in.Text();
  if (!known || !in.Done() || flags >> bit != 0) return Damaged("content");
  return record;
}

std::string VersionRecord::Encode() const {
  std::string bytes;
  ByteWriter out(&bytes);
  out.U8(kLayout);
  out.Varint(content);
  out.Varint(inode);
  out.Varint(size_bytes);
  PutTime(&out, capture_time);
  PutTime(&out, modify_time);
  out.U32(mode);
  out.U32(uid);
  out.U32(gid);
  return bytes;
}

Result<VersionRecord> VersionRecord::Decode(std::string_view bytes) {
  ByteReader in(bytes);
  VersionRecord record;
  const bool known = in.U8() == kLayout;
  record.content = in.Varint();
  record.inode = in.Varint();
  record.size_bytes = in.Varint();
  record.capture_time = GetTime(&in);
  record.modify_time = GetTime(&in);
  record.mode = in.U32();
  record.uid = in.U32();
  record.gid = in.U32();
  if (!known || !in.Done()) return Damaged("version");
  return record;
}

std::string NameRecord::Encode() const {
  std::string bytes;
  ByteWriter out(&bytes);
  out.U8(kLayout);
  out.U32(last_version);
  out.Varint(child_history);
  out.Varint(directory_versions);
  out.U32(last_directory_version);
  return bytes;
}

Result<NameRecord> NameRecord::Decode(std::string_view bytes) {
  ByteReader in(bytes);
  NameRecord record;
  const bool known = in.U8() == kLayout;
  record.last_version = in.U32();
  record.child_history = in.Varint();
  if (in.ok() && in.remaining() > 0) {  // earlier stores end here
    record.directory_versions = in.Varint();
    record.last_directory_version = in.U32();
  }
  if (!known || !in.Done()) return Damaged("name");
  return record;
}

std::string DirectoryVersionRecord::Encode() const {
  std::string bytes;
  ByteWriter out(&bytes);
  out.U8(kLayout);
  out.Varint(moment);
  out.Varint(inode);
  PutTime(&out, capture_time);
  out.U8(static_cast<uint8_t>(reason));
  return bytes;
}

Result<DirectoryVersionRecord> DirectoryVersionRecord::Decode(std::string_view bytes) {
  ByteReader in(bytes);
  DirectoryVersionRecord record;
  const bool known = in.U8() == kLayout;
  record.moment = in.Varint();
  record.inode = in.Varint();
  record.capture_time = GetTime(&in);
  record.reason = static_cast<CaptureReason>(in.U8());
  if (!known || !in.Done()) return Damaged("directory version");
  return record;
}

std::string CloneRecord::Encode() const {
  std::string bytes;
  ByteWriter out(&bytes);
  out.U8(kLayout);
  out.Varint(original.inode);
  out.Varint(original.moment);
  out.Varint(layers.size());
  for (const PastInode& layer : layers) {
    out.Varint(layer.inode);
    out.Varint(layer.moment);
  }
  PutTime(&out, clone_time);
  out.Text(path);
  return bytes;
}

Result<CloneRecord> CloneRecord::Decode(std::string_view bytes) {
  ByteReader in(bytes);
  CloneRecord record;
  const bool known = in.U8() == kLayout;
  record.original.inode = in.Varint();
  record.original.moment = in.Varint();
  const uint64_t layers = in.Varint();
  for (uint64_t i = 0; in.ok() && i < layers; ++i) {
    PastInode layer;
    layer.inode = in.Varint();
    layer.moment = in.Varint();
    record.layers.push_back(layer);
  }
  record.clone_time = GetTime(&in);
  record.path = in.Text();
  if (!known || !in.Done() || record.original.moment == 0) return Damaged("clone");
  return record;
}

std::string SavedRow::Encode() const {
  std::string bytes;
  ByteWriter out(&bytes);
  out.U8(kLayout);
  out.U8(row ? 1 : 0);
  if (row) out.Raw(AsBytes(*row));
  return bytes;
}

Result<SavedRow> SavedRow::Decode(std::string_view bytes) {
  ByteReader in(bytes);
  SavedRow saved;
  const bool known = in.U8() == kLayout;
  const uint8_t present = in.U8();
  if (!known || !in.ok() || present > 1 || (present == 0 && in.remaining() > 0))
    return Damaged("saved row");
  if (present == 1) saved.row = AsText(in.Raw(in.remaining()));
  return saved;
}

}  // namespace varve
