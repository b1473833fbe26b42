#include "fs/core/chunk_users.h"

#include <fmt/format.h>

#include "fs/core/content_recipe.h"
#include "fs/core/history.h"

namespace varve {
namespace {

std::string Join(std::string directory, std::string_view name) {
  if (directory != "/") directory.push_back('/');
  return directory.append(name);
}

// Of a version's key: table, history, name, 0, number.
std::string_view VersionedName(std::string_view row_key) {
  constexpr size_t kBefore = 9, kBehind = 5;
  return row_key.substr(kBefore, row_key.size() - kBefore - kBehind);
}

}  // namespace

Status ChunkUsers::Find(const ChunkIds& chunks, std::function<void(User)> found,
                        std::function<bool(ContentId)> counts) {
  found_ = std::move(found);
  counts_ = std::move(counts);
  RETURN_IF_ERROR(FindContents(chunks));
  RETURN_IF_ERROR(FindOverlays());
  RETURN_IF_ERROR(FindVersions());
  RETURN_IF_ERROR(NameLiveFiles());
  RETURN_IF_ERROR(NameVersions());
  return NameCaptured();
}

Status ChunkUsers::Walk(char table,
                        const std::function<Status(std::string_view, std::string_view)>& visit) {
  return ForEachPage(tree_.catalog(), key::Table(table), [&](const RowPage& page) -> Status {
    for (const auto& [row_key, row] : page) RETURN_IF_ERROR(visit(row_key, row));
    return go_on_();
  });
}

// What does not decode is fsck's business.
Status ChunkUsers::FindContents(const ChunkIds& chunks) {
  return Walk(key::kRecipe, [&](std::string_view row_key, std::string_view row) {
    if (counts_ && !counts_(key::Id(row_key))) return Status();
    const Result<RecipeSegment> segment = DecodeSegment(key::Offset(row_key), row);
    if (!segment.ok()) return Status();
    uint64_t position = segment->begin_bytes;
    for (const Piece& piece : segment->pieces) {
      if (!piece.hole() && chunks.contains(piece.id)) {
        Use& use = uses_.try_emplace(key::Id(row_key), Use{0, position}).first->second;
        use.bytes += piece.size_bytes;
      }
      position += piece.size_bytes;
    }
    return Status();
  });
}

Status ChunkUsers::FindOverlays() {
  std::vector<std::pair<ContentId, Use>> overlays;
  const Status walked =
      Walk(key::kContent, [&](std::string_view row_key, std::string_view row) -> Status {
        const Result<ContentRecord> record = ContentRecord::Decode(row);
        if (!record.ok() || record->stored || !record->overlay) return Status();
        if (const auto base = uses_.find(record->base); base != uses_.end())
          overlays.emplace_back(key::Id(row_key), base->second);
        return Status();
      });
  uses_.insert(overlays.begin(), overlays.end());
  return walked;
}

Status ChunkUsers::FindVersions() {
  return Walk(key::kVersion, [&](std::string_view row_key, std::string_view row) {
    const Result<VersionRecord> version = VersionRecord::Decode(row);
    if (!version.ok() || !uses_.contains(version->content)) return Status();
    versions_.push_back({std::string(row_key), version->content});
    directories_.try_emplace(key::Id(row_key), 0);
    return Status();
  });
}

Status ChunkUsers::NameLiveFiles() {
  return Walk(key::kInode, [&](std::string_view row_key, std::string_view row) {
    const Result<InodeRecord> record = InodeRecord::Decode(row);
    if (!record.ok() || record->links == 0) return Status();
    if (S_ISDIR(record->mode)) {
      const auto wanted = directories_.find(record->history);
      if (wanted != directories_.end()) wanted->second = key::Id(row_key);
      return Status();
    }
    const auto use = uses_.find(record->content);
    return use == uses_.end() ? Status() : NameInode(key::Id(row_key), &use->second);
  });
}

Status ChunkUsers::NameInode(InodeNumber inode, Use* use) {
  std::vector<std::string> paths;
  {
    MutexLock lock(tree_.mutex());
    const Result<InodeRecord> record = tree_.Inode(inode);
    if (!record.ok()) return Status();  // removed a moment ago
    ASSIGN_OR_RETURN(const std::vector<LinkName> names, tree_.Names(inode, *record));
    for (const LinkName& name : names) paths.push_back(Join(tree_.PathOf(name.parent), name.name));
  }
  for (std::string& path : paths) Name(std::move(path), use);
  return Status();
}

Status ChunkUsers::NameVersions() {
  for (const Version& version : versions_) {
    const InodeNumber directory = directories_.at(key::Id(version.row_key));
    const std::string_view name = VersionedName(version.row_key);
    const VersionNumber number = key::Number(version.row_key);
    std::string path;
    if (directory == 0) {
      path = fmt::format("version {} of \"{}\", whose directory was removed", number, name);
    } else {
      MutexLock lock(tree_.mutex());
      path = Join(tree_.PathOf(directory),
                  fmt::format(".varve/versions/{}/{}", name, VersionName(number)));
    }
    Name(std::move(path), &uses_.at(version.content));
  }
  return Status();
}

Status ChunkUsers::NameCaptured() {
  return Walk(key::kSaved, [&](std::string_view row_key, std::string_view row) {
    if (key::SavedKey(row_key)[0] != key::kInode) return Status();
    const Result<SavedRow> saved = SavedRow::Decode(row);
    if (!saved.ok() || !saved->row) return Status();
    const Result<InodeRecord> inode = InodeRecord::Decode(*saved->row);
    if (!inode.ok()) return Status();
    const auto use = uses_.find(inode->content);
    if (use == uses_.end() || use->second.named) return Status();
    Name(fmt::format("\"{}\" as a captured directory shows it", inode->name), &use->second);
    return Status();
  });
}

void ChunkUsers::Name(std::string path, Use* use) {
  use->named = true;
  found_({std::move(path), use->bytes, use->first_byte});
}

}  // namespace varve
