#include "fs/core/fsck_rows.h"

#include <fmt/format.h>

#include <algorithm>

#include "fs/core/content_recipe.h"
#include "fs/core/extent_map.h"
#include "fs/core/records.h"
#include "fs/core/tensor_rows.h"

namespace varve {
namespace {

constexpr size_t kTextMax = 80;

std::string Hex(std::string_view text) {
  std::string hex;
  for (const char c : text.substr(0, kTextMax))
    hex += fmt::format("{:02x}", static_cast<unsigned char>(c));
  return hex;
}

bool IsU64(std::string_view row) { return row.size() == sizeof(uint64_t); }

bool SavedIsSound(std::string_view key, std::string_view row) {
  const Result<SavedRow> saved = SavedRow::Decode(row);
  return saved.ok() && (!saved->row || RowIsSound(key::SavedKey(key), *saved->row));
}

bool ExtentIsSound(std::string_view key, std::string_view row) {
  const Result<uint64_t> value = DecodeOffset(row);
  const uint64_t offset = key::Offset(key);
  return value.ok() && (offset == key::kBaseShown || *value > offset);
}

// The highest number that a row uses, of those that Tree::NewId() gives.
uint64_t HighestNumber(std::string_view key) {
  static constexpr std::string_view kTables{
      "\x49\x4b\x53\x56\x4e\x54\x50"  // inodes, contents, staging files, versions, names,
                                      // versions of directories, pins
  };
  return kTables.find(key[0]) != std::string_view::npos ? key::Id(key) : 0;
}

Status CheckCounter(FsckContext& context, uint64_t highest) {
  ASSIGN_OR_RETURN(const uint64_t reserved, context.d.tree.ReservedIds());
  if (highest < reserved || highest < Tree::kFirstId) return Status();
  context.Found(
      fmt::format("numbers up to {} are in use, and new ones would begin at {}", highest, reserved),
      "the counter is set above them");
  if (!context.repair()) return Status();
  Batch batch;
  Tree::PutReservedIds(highest + 1, &batch);
  return context.Apply(batch);
}

}  // namespace

bool KeyIsSound(std::string_view key) {
  constexpr size_t kOne = 9, kTwo = 17, kChunkKey = 17;
  if (key.empty()) return false;
  switch (key[0]) {
    case key::kInode:
    case key::kSymlink:
    case key::kOrphan:
    case key::kContent:
    case key::kStage:
    case key::kDirty:
    case key::kSeal:
    case key::kClone:
      return key.size() == kOne;
    case key::kDirent:
    case key::kRecipe:
      return key.size() == kTwo;
    case key::kExtent:
      return key.size() == kTwo || (key::IsFreshExtent(key) && key::Offset(key) != key::kBaseShown);
    case key::kChunk:
      return key.size() == kChunkKey;
    case key::kXattr:
    case key::kName:
    case key::kPin:
      return key.size() > kOne;
    case key::kDirectoryVersion:
    case key::kTensorMap:
      return key.size() == kOne + 4;
    case key::kSaved:
      return key.size() >= kOne + 10 && key[key.size() - 9] == '\0' &&
             key::IsOfTree(key::SavedKey(key)[0]) && KeyIsSound(key::SavedKey(key));
    case key::kLink:
      return key.size() > kTwo;
    case key::kVersion:
      return key.size() > kOne + 5 && key[key.size() - 5] == '\0';
    case key::kMeta:
      return key.size() > 1;
    default:
      return false;
  }
}

bool RowIsSound(std::string_view key, std::string_view row) {
  if (!KeyIsSound(key)) return false;
  switch (key[0]) {
    case key::kInode:
      return InodeRecord::Decode(row).ok();
    case key::kDirent:
      return DirentRecord::Decode(row).ok();
    case key::kContent:
      return ContentRecord::Decode(row).ok();
    case key::kVersion:
      return VersionRecord::Decode(row).ok();
    case key::kName:
      return NameRecord::Decode(row).ok();
    case key::kRecipe:
      return DecodeSegment(key::Offset(key), row).ok();
    case key::kChunk:
      return DecodeLocation(row).ok();
    case key::kExtent:
      return ExtentIsSound(key, row);
    case key::kStage:
      return IsU64(row);
    case key::kSaved:
      return SavedIsSound(key, row);
    case key::kDirectoryVersion:
      return DirectoryVersionRecord::Decode(row).ok();
    case key::kPin:
      return row.size() == sizeof(VersionNumber);
    case key::kClone:
      return CloneRecord::Decode(row).ok();
    case key::kTensorMap:
      return key::Part(key) > 0 ? row.size() > 2 : DecodeTensorHead(row).ok();
    case key::kMeta:
      if (key == key::Meta(SavedRows::kMomentMeta)) return row.size() == 2 * sizeof(uint64_t);
      return key != key::Meta(Tree::kIdsMeta) || IsU64(row);
    default:
      return true;  // symbolic links, attributes: any bytes; orphans, links: none
  }
}

std::string DescribeKey(std::string_view key) {
  if (!KeyIsSound(key)) return "with the unknown key " + Hex(key);
  const std::string_view text = key.size() > 9 ? key.substr(9, kTextMax) : "";
  switch (key[0]) {
    case key::kInode:
      return fmt::format("of inode {}", key::Id(key));
    case key::kSymlink:
      return fmt::format("of symbolic link {}", key::Id(key));
    case key::kOrphan:
      return fmt::format("of removed inode {}", key::Id(key));
    case key::kContent:
      return fmt::format("of content {}", key::Id(key));
    case key::kStage:
      return fmt::format("of staging file {:016x}", key::Id(key));
    case key::kDirent:
      return fmt::format("of a name in directory {} (slot {:x})", key::Id(key), key::Slot(key));
    case key::kRecipe:
      return fmt::format("of the recipe of content {} before byte {}", key::Id(key),
                         key::Offset(key));
    case key::kExtent:
      return fmt::format("of an extent of content {} at byte {}", key::Id(key), key::Offset(key));
    case key::kChunk:
      return "of chunk " + Hex(key.substr(1));
    case key::kXattr:
      return fmt::format("of attribute \"{}\" of inode {}", text, key::Id(key));
    case key::kName:
      return fmt::format("of the counters of \"{}\" in history {}", text, key::Id(key));
    case key::kLink:
      return fmt::format("of a link of inode {}", key::Id(key));
    case key::kVersion:
      return fmt::format("of version {} of \"{}\" in history {}", key::Number(key),
                         text.substr(0, key.size() - 9 - 5), key::Id(key));
    case key::kSaved:
      return "of what was, before moment " + std::to_string(key::SavedUntil(key)) + ", the row " +
             DescribeKey(key::SavedKey(key));
    case key::kDirectoryVersion:
      return fmt::format("of version {} of a directory (list {})", key::Number(key), key::Id(key));
    case key::kPin:
      return fmt::format("of pin \"{}\" of a directory (list {})", text, key::Id(key));
    case key::kTensorMap:
      return fmt::format("of the tensor map of content {}", key::Id(key));
    case key::kSeal:
      return fmt::format("of sealed directory {}", key::Id(key));
    case key::kClone:
      return fmt::format("of clone {}", key::Id(key));
    case key::kDirty:
      return fmt::format("of changed directory {}", key::Id(key));
    default:
      return fmt::format("\"{}\" of the store", key.substr(1, kTextMax));
  }
}

Status CheckRows(FsckContext& context) {
  std::vector<Batch::Change> unsound;
  uint64_t highest = 0;
  uint64_t rows = 0;
  RETURN_IF_ERROR(context.d.catalog.Scan("", "", [&](std::string_view key, std::string_view row) {
    if (++rows % 65536 == 0) context.Progress("reading the index", rows, 0);
    if (!RowIsSound(key, row)) {
      unsound.push_back({std::string(key), std::nullopt});
    } else {
      highest = std::max(highest, HighestNumber(key));
    }
    return true;
  }));
  for (const Batch::Change& change : unsound)
    context.Found("the index's row " + DescribeKey(change.key) + " is damaged",
                  "the row is dropped");
  if (context.repair()) RETURN_IF_ERROR(context.ApplyAll(unsound));
  return CheckCounter(context, highest);
}

}  // namespace varve
