// The key schema of the index: which tables there are, and what their keys are.
//
// A key is one byte that names its table, then fixed-width big-endian numbers
// and names, so that a table's rows sort and a prefix is a range. Values are in
// records.h.
//
// Threads: free functions.
// Format:  docs/FORMAT.md, "Index".
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "store/chunk/chunk.h"

namespace varve {

using InodeNumber = uint64_t;
using ContentId = uint64_t;  // one captured or growing byte sequence; 0 is the empty one
using StageId = uint64_t;    // names a staging file; 0 is none
using HistoryId = uint64_t;  // what a directory's history hangs on; outlives its inode
using VersionNumber = uint32_t;
// Counts captures of directories: what lies between two of them is one moment.
using Moment = uint64_t;

namespace key {

std::string Inode(InodeNumber inode);
// `slot`: 59 bits of the name's hash under the store's secret, and 4 bits that
// tell colliding names apart. It is the directory cookie too, so always > 0.
std::string Dirent(InodeNumber parent, uint64_t slot);
std::string Symlink(InodeNumber inode);
std::string Xattr(InodeNumber inode, std::string_view name);
std::string Orphan(InodeNumber inode);  // removed, but still open at the last look
// One name of an inode that has several; an inode with one name keeps it in its record.
std::string Link(InodeNumber inode, InodeNumber parent, std::string_view name);
std::string Content(ContentId content);
// One segment of a recipe, by the offset where it ends in the content.
std::string Recipe(ContentId content, uint64_t offset_bytes);
// What tensors are in a stored content: the head is part 0.
std::string TensorMap(ContentId content, uint32_t part);
// A range of an overlay that its staging file holds, by its offset -> its end.
// At kBaseShown: how many bytes of the base show through, from its start.
std::string Extent(ContentId content, uint64_t offset_bytes);
inline constexpr uint64_t kBaseShown = ~uint64_t{0};
// One that was written since the staging file was flushed; a power cut drops it.
std::string FreshExtent(ContentId content, uint64_t offset_bytes);
bool IsFreshExtent(std::string_view extent_key);
std::string Stage(StageId stage);  // -> its content
std::string Chunk(const ChunkId& id);
std::string Version(HistoryId history, std::string_view name, VersionNumber number);
std::string Name(HistoryId history, std::string_view name);  // -> counters of a name
std::string Meta(std::string_view name);
// What the row of `key` was until the moment `until` (saved_rows.h).
std::string Saved(std::string_view key, Moment until);
// A version of a directory, and a name that it is pinned under; `list` is what the
// record of the directory's name says.
std::string DirectoryVersion(HistoryId list, VersionNumber number);
std::string Pin(HistoryId list, std::string_view name);
std::string Dirty(InodeNumber directory);  // changed since its last version
std::string Seal(InodeNumber directory);
std::string Clone(InodeNumber directory);  // -> what it is a clone of

// Half-open ranges for scans.
struct Range {
  std::string begin;
  std::string end;
};
Range AllDirents(InodeNumber parent, uint64_t after_slot = 0);
Range AllXattrs(InodeNumber inode);
Range AllLinks(InodeNumber inode);
Range AllRecipe(ContentId content, uint64_t from_offset_bytes = 0);
Range AllTensorMap(ContentId content);
Range AllExtents(ContentId content);
Range AllVersions(HistoryId history, std::string_view name);
Range AllNames(HistoryId history);
Range AllDirectoryVersions(HistoryId list);
Range AllPins(HistoryId list);
// A whole table, by the byte that names it.
Range Table(char table);

// Decoders of what scans return. REQUIRES: a key of that table.
uint64_t Slot(std::string_view dirent_key);
std::string_view XattrName(std::string_view xattr_key);
InodeNumber LinkParent(std::string_view link_key);
std::string_view LinkName(std::string_view link_key);
uint64_t Offset(std::string_view recipe_or_extent_key);
VersionNumber Number(std::string_view version_key);
std::string_view NameOf(std::string_view name_key);
std::string_view SavedKey(std::string_view saved_key);
Moment SavedUntil(std::string_view saved_key);
std::string_view PinName(std::string_view pin_key);
ChunkId ChunkOf(std::string_view chunk_key);
uint32_t Part(std::string_view tensor_map_key);
// Of Inode, Content, TensorMap, Stage, Orphan, Dirty, Seal, Clone; parent of Dirent; list of what
// has one.
uint64_t Id(std::string_view key);

inline constexpr char kInode = 'I', kDirent = 'D', kSymlink = 'L', kXattr = 'X', kOrphan = 'O',
                      kContent = 'K', kRecipe = 'R', kExtent = 'E', kStage = 'S', kChunk = 'C',
                      kVersion = 'V', kName = 'N', kLink = 'H', kMeta = 'M', kSaved = 'B',
                      kDirectoryVersion = 'T', kPin = 'P', kDirty = 'Y', kSeal = 'Q', kClone = 'G',
                      kTensorMap = 'A';

// The tables that the tree of an earlier moment is read from (past_tree.h).
bool IsOfTree(char table);

}  // namespace key
}  // namespace varve
