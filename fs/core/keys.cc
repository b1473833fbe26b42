#include "fs/core/keys.h"

#include <cstring>

#include "store/base/check.h"

namespace varve::key {
namespace {

void AppendBig(std::string* out, uint64_t value, unsigned bytes) {
  for (unsigned i = bytes; i-- > 0;) out->push_back(static_cast<char>(value >> (8 * i)));
}

uint64_t Big(std::string_view text, size_t position, unsigned bytes) {
  CHECK(text.size() >= position + bytes);
  uint64_t value = 0;
  for (unsigned i = 0; i < bytes; ++i)
    value = value << 8 | static_cast<uint8_t>(text[position + i]);
  return value;
}

std::string WithId(char table, uint64_t id) {
  std::string out(1, table);
  AppendBig(&out, id, 8);
  return out;
}

std::string WithTwo(char table, uint64_t id, uint64_t second) {
  std::string out = WithId(table, id);
  AppendBig(&out, second, 8);
  return out;
}

std::string WithName(char table, uint64_t id, std::string_view name) {
  std::string out = WithId(table, id);
  out.append(name);
  return out;
}

Range AllOf(char table, uint64_t id) { return {WithId(table, id), WithId(table, id + 1)}; }

constexpr char kFresh = 'f';
constexpr size_t kFreshExtentBytes = 1 + 8 + 8 + 1;

}  // namespace

std::string Inode(InodeNumber inode) { return WithId(kInode, inode); }
std::string Dirent(InodeNumber parent, uint64_t slot) { return WithTwo(kDirent, parent, slot); }
std::string Symlink(InodeNumber inode) { return WithId(kSymlink, inode); }
std::string Xattr(InodeNumber inode, std::string_view name) {
  return WithName(kXattr, inode, name);
}
std::string Orphan(InodeNumber inode) { return WithId(kOrphan, inode); }
std::string Link(InodeNumber inode, InodeNumber parent, std::string_view name) {
  std::string out = WithTwo(kLink, inode, parent);
  out.append(name);
  return out;
}
std::string Content(ContentId content) { return WithId(kContent, content); }
std::string Recipe(ContentId content, uint64_t offset_bytes) {
  return WithTwo(kRecipe, content, offset_bytes);
}
std::string Extent(ContentId content, uint64_t offset_bytes) {
  return WithTwo(kExtent, content, offset_bytes);
}
std::string FreshExtent(ContentId content, uint64_t offset_bytes) {
  return Extent(content, offset_bytes) + kFresh;
}
bool IsFreshExtent(std::string_view extent_key) { return extent_key.size() == kFreshExtentBytes; }
std::string Stage(StageId stage) { return WithId(kStage, stage); }
std::string Chunk(const ChunkId& id) {
  std::string out(1, kChunk);
  out.append(reinterpret_cast<const char*>(id.bytes.data()), id.bytes.size());
  return out;
}
std::string Version(HistoryId history, std::string_view name, VersionNumber number) {
  std::string out = WithName(kVersion, history, name);
  out.push_back('\0');
  AppendBig(&out, number, 4);
  return out;
}
std::string Name(HistoryId history, std::string_view name) {
  return WithName(kName, history, name);
}
std::string Meta(std::string_view name) { return kMeta + std::string(name); }
// Names hold no zero byte, so the first one behind the fixed part ends the key.
std::string Saved(std::string_view key, Moment until) {
  std::string out(1, kSaved);
  out.append(key);
  out.push_back('\0');
  AppendBig(&out, until, 8);
  return out;
}
std::string DirectoryVersion(HistoryId list, VersionNumber number) {
  std::string out = WithId(kDirectoryVersion, list);
  AppendBig(&out, number, 4);
  return out;
}
std::string TensorMap(ContentId content, uint32_t part) {
  std::string out = WithId(kTensorMap, content);
  AppendBig(&out, part, 4);
  return out;
}
std::string Pin(HistoryId list, std::string_view name) { return WithName(kPin, list, name); }
std::string Dirty(InodeNumber directory) { return WithId(kDirty, directory); }
std::string Seal(InodeNumber directory) { return WithId(kSeal, directory); }
std::string Clone(InodeNumber directory) { return WithId(kClone, directory); }

bool IsOfTree(char table) {
  return table == kDirent || table == kInode || table == kSymlink || table == kXattr ||
         table == kClone;
}

Range AllDirents(InodeNumber parent, uint64_t after_slot) {
  return {Dirent(parent, after_slot + 1), WithId(kDirent, parent + 1)};
}
Range AllXattrs(InodeNumber inode) { return AllOf(kXattr, inode); }
Range AllLinks(InodeNumber inode) { return AllOf(kLink, inode); }
Range AllRecipe(ContentId content, uint64_t from_offset_bytes) {
  return {Recipe(content, from_offset_bytes), WithId(kRecipe, content + 1)};
}
Range AllTensorMap(ContentId content) { return AllOf(kTensorMap, content); }
Range AllExtents(ContentId content) { return AllOf(kExtent, content); }
Range AllVersions(HistoryId history, std::string_view name) {
  std::string begin = WithName(kVersion, history, name);
  std::string end = begin;
  begin.push_back('\0');
  end.push_back('\1');
  return {begin, end};
}
Range AllNames(HistoryId history) { return AllOf(kName, history); }
Range AllDirectoryVersions(HistoryId list) { return AllOf(kDirectoryVersion, list); }
Range AllPins(HistoryId list) { return AllOf(kPin, list); }
Range Table(char table) {
  return {std::string(1, table), std::string(1, static_cast<char>(table + 1))};
}

uint64_t Slot(std::string_view dirent_key) { return Big(dirent_key, 9, 8); }
std::string_view XattrName(std::string_view xattr_key) { return xattr_key.substr(9); }
InodeNumber LinkParent(std::string_view link_key) { return Big(link_key, 9, 8); }
std::string_view LinkName(std::string_view link_key) { return link_key.substr(17); }
uint64_t Offset(std::string_view recipe_or_extent_key) { return Big(recipe_or_extent_key, 9, 8); }
VersionNumber Number(std::string_view version_key) {
  return static_cast<VersionNumber>(Big(version_key, version_key.size() - 4, 4));
}
uint32_t Part(std::string_view tensor_map_key) {
  return static_cast<uint32_t>(Big(tensor_map_key, tensor_map_key.size() - 4, 4));
}
std::string_view NameOf(std::string_view name_key) { return name_key.substr(9); }
std::string_view SavedKey(std::string_view saved_key) {
  CHECK(saved_key.size() > 10);
  return saved_key.substr(1, saved_key.size() - 10);
}
Moment SavedUntil(std::string_view saved_key) { return Big(saved_key, saved_key.size() - 8, 8); }
std::string_view PinName(std::string_view pin_key) { return pin_key.substr(9); }
ChunkId ChunkOf(std::string_view chunk_key) {
  ChunkId id;
  CHECK(chunk_key.size() == 1 + id.bytes.size());
  std::memcpy(id.bytes.data(), chunk_key.data() + 1, id.bytes.size());
  return id;
}
uint64_t Id(std::string_view key) { return Big(key, 1, 8); }

}  // namespace varve::key
