#include "store/format/torch_zip.h"

#include <algorithm>
#include <string>
#include <string_view>

#include "store/format/completeness.h"

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
// More than a directory of half a million tensors.
constexpr uint64_t kWalkBytesMax = 64u << 20;

// `name` without its one folder; nothing when it has none.
std::string_view BelowFolder(std::string_view name) {
  const size_t slash = name.find('/');
  return slash == std::string_view::npos || slash == 0 ? "" : name.substr(slash + 1);
}

// What every file of torch has: the pickle, or the code of a TorchScript.
bool IsTorchEntry(std::string_view name) {
  const std::string_view rest = BelowFolder(name);
  return rest == "data.pkl" || rest == "constants.pkl";
}

// What one of torch may begin with, depending on its version.
bool BeginsTorch(std::string_view name) {
  const std::string_view rest = BelowFolder(name);
  for (const std::string_view known :
       {"version", "byteorder", ".format_version", ".storage_alignment"}) {
    if (rest == known) return true;
  }
  return IsTorchEntry(name) || rest.starts_with(".data/") || rest.starts_with("code/__torch__");
}

// The name in the file's first local header; nothing when it is no zip.
Result<std::optional<std::string>> FirstName(ByteSource& source) {
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

struct Walk {
  bool sound = false;
  bool torch = false;
};

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

// Reads the entry at `*offset` and moves behind it.
Result<bool> WalkEntry(BufferedSource& source, const ZipDirectory& directory, uint64_t* offset,
                       bool* torch) {
  const uint64_t end = directory.offset_bytes + directory.size_bytes;
  ASSIGN_OR_RETURN(const ByteView fixed, source.Get(*offset, kEntryBytes));
  ByteReader in(fixed);
  const bool signature = in.U32() == kEntrySignature;
  in.Raw(16);
  EntrySizes sizes;
  sizes.stored_bytes = in.U32();
  const uint32_t raw_bytes = in.U32();
  const size_t name_bytes = in.U16();
  const size_t extra_bytes = in.U16();
  const size_t comment_bytes = in.U16();
  in.Raw(8);
  sizes.local_offset = in.U32();
  if (!in.ok() || !signature) return false;
  const uint64_t next = *offset + kEntryBytes + name_bytes + extra_bytes + comment_bytes;
  if (next > end) return false;

  ASSIGN_OR_RETURN(const ByteView name, source.Get(*offset + kEntryBytes, name_bytes));
  *torch = *torch || IsTorchEntry(AsText(name));
  ASSIGN_OR_RETURN(const ByteView extra,
                   source.Get(*offset + kEntryBytes + name_bytes, extra_bytes));
  if (extra.size() != extra_bytes || !Widen(extra, raw_bytes, &sizes)) return false;
  *offset = next;
  // Its header, name and bytes lie before the directory.
  const uint64_t begin = directory.offset_bytes;
  return sizes.local_offset <= begin && begin - sizes.local_offset >= kLocalBytes &&
         sizes.stored_bytes <= begin - sizes.local_offset - kLocalBytes;
}

Result<Walk> WalkDirectory(ByteSource& source, const ZipDirectory& directory) {
  BufferedSource buffered(source);
  Walk walk;
  uint64_t offset = directory.offset_bytes;
  const uint64_t end = directory.offset_bytes + directory.size_bytes;
  uint64_t entries = 0;
  for (; offset < end; ++entries) {
    if (offset - directory.offset_bytes > kWalkBytesMax) {
      walk.sound = true;  // as far as it was looked at
      return walk;
    }
    ASSIGN_OR_RETURN(const bool sound, WalkEntry(buffered, directory, &offset, &walk.torch));
    if (!sound) return walk;
  }
  walk.sound = entries == directory.entries;
  return walk;
}

}  // namespace

Result<std::optional<ZipDirectory>> FindZipDirectory(ByteSource& source) {
  using Found = std::optional<ZipDirectory>;
  const uint64_t size = source.size_bytes();
  std::string tail(static_cast<size_t>(std::min<uint64_t>(size, kEndBytes + kCommentBytesMax)),
                   '\0');
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

Result<std::optional<Completeness>> CheckTorchZip(ByteSource& source) {
  using Recognised = std::optional<Completeness>;
  ASSIGN_OR_RETURN(const std::optional<std::string> first_name, FirstName(source));
  if (!first_name) return Recognised();
  const bool begins_as_torch = BeginsTorch(*first_name);
  const auto incomplete = [](std::string reason) {
    return Recognised(Completeness{ContentFormat::kTorchZip, false, std::move(reason)});
  };
  ASSIGN_OR_RETURN(const std::optional<ZipDirectory> directory, FindZipDirectory(source));
  if (!directory) {
    if (!begins_as_torch) return Recognised();
    return incomplete("the directory at the end of the zip is missing; it has " +
                      std::to_string(source.size_bytes()) + " bytes");
  }
  ASSIGN_OR_RETURN(const Walk walk, WalkDirectory(source, *directory));
  if (!walk.torch && (walk.sound || !begins_as_torch)) return Recognised();
  if (!walk.sound) return incomplete("the directory at the end of the zip is damaged");
  return Recognised(Completeness{ContentFormat::kTorchZip, true, ""});
}

}  // namespace varve
