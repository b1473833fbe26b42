#include "fs/core/scrub_files.h"

#include <fmt/format.h>

#include "fs/core/content_recipe.h"
#include "fs/core/history.h"
#include "store/base/log.h"

namespace varve {
namespace {

constexpr uint64_t kLoggedMax = 1000;

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

Status ScrubFiles::Find(const ChunkIds& damaged, ScrubReport* report) {
  report_ = report;
  RETURN_IF_ERROR(FindContents(damaged));
  RETURN_IF_ERROR(FindOverlays());
  RETURN_IF_ERROR(FindVersions());
  RETURN_IF_ERROR(NameLiveFiles());
  RETURN_IF_ERROR(NameVersions());
  return NameCaptured();
}

Status ScrubFiles::Walk(char table,
                        const std::function<Status(std::string_view, std::string_view)>& visit) {
  return ForEachPage(tree_.catalog(), key::Table(table), [&](const RowPage& page) -> Status {
    for (const auto& [row_key, row] : page) RETURN_IF_ERROR(visit(row_key, row));
    return go_on_();
  });
}

// What does not decode is fsck's business.
Status ScrubFiles::FindContents(const ChunkIds& damaged) {
  return Walk(key::kRecipe, [&](std::string_view row_key, std::string_view row) {
    const Result<RecipeSegment> segment = DecodeSegment(key::Offset(row_key), row);
    if (!segment.ok()) return Status();
    uint64_t position = segment->begin_bytes;
    for (const Piece& piece : segment->pieces) {
      if (!piece.hole() && damaged.contains(piece.id)) {
        Loss& loss = losses_.try_emplace(key::Id(row_key), Loss{0, position}).first->second;
        loss.bytes += piece.size_bytes;
      }
      position += piece.size_bytes;
    }
    return Status();
  });
}

Status ScrubFiles::FindOverlays() {
  std::vector<std::pair<ContentId, Loss>> overlays;
  const Status walked =
      Walk(key::kContent, [&](std::string_view row_key, std::string_view row) -> Status {
        const Result<ContentRecord> record = ContentRecord::Decode(row);
        if (!record.ok() || record->stored || !record->overlay) return Status();
        if (const auto base = losses_.find(record->base); base != losses_.end())
          overlays.emplace_back(key::Id(row_key), base->second);
        return Status();
      });
  losses_.insert(overlays.begin(), overlays.end());
  return walked;
}

Status ScrubFiles::FindVersions() {
  return Walk(key::kVersion, [&](std::string_view row_key, std::string_view row) {
    const Result<VersionRecord> version = VersionRecord::Decode(row);
    if (!version.ok() || !losses_.contains(version->content)) return Status();
    versions_.push_back({std::string(row_key), version->content});
    directories_.try_emplace(key::Id(row_key), 0);
    return Status();
  });
}

Status ScrubFiles::NameLiveFiles() {
  return Walk(key::kInode, [&](std::string_view row_key, std::string_view row) {
    const Result<InodeRecord> record = InodeRecord::Decode(row);
    if (!record.ok() || record->links == 0) return Status();
    if (S_ISDIR(record->mode)) {
      const auto wanted = directories_.find(record->history);
      if (wanted != directories_.end()) wanted->second = key::Id(row_key);
      return Status();
    }
    const auto loss = losses_.find(record->content);
    return loss == losses_.end() ? Status() : NameInode(key::Id(row_key), &loss->second);
  });
}

Status ScrubFiles::NameInode(InodeNumber inode, Loss* loss) {
  std::vector<std::string> paths;
  {
    MutexLock lock(tree_.mutex());
    const Result<InodeRecord> record = tree_.Inode(inode);
    if (!record.ok()) return Status();  // removed a moment ago
    ASSIGN_OR_RETURN(const std::vector<LinkName> names, tree_.Names(inode, *record));
    for (const LinkName& name : names) paths.push_back(Join(tree_.PathOf(name.parent), name.name));
  }
  for (std::string& path : paths) Name(std::move(path), loss);
  return Status();
}

Status ScrubFiles::NameVersions() {
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
    Name(std::move(path), &losses_.at(version.content));
  }
  return Status();
}

Status ScrubFiles::NameCaptured() {
  return Walk(key::kSaved, [&](std::string_view row_key, std::string_view row) {
    if (key::SavedKey(row_key)[0] != key::kInode) return Status();
    const Result<SavedRow> saved = SavedRow::Decode(row);
    if (!saved.ok() || !saved->row) return Status();
    const Result<InodeRecord> inode = InodeRecord::Decode(*saved->row);
    if (!inode.ok()) return Status();
    const auto loss = losses_.find(inode->content);
    if (loss == losses_.end() || loss->second.named) return Status();
    Name(fmt::format("\"{}\" as a captured directory shows it", inode->name), &loss->second);
    return Status();
  });
}

void ScrubFiles::Name(std::string path, Loss* loss) {
  loss->named = true;
  if (report_->damaged_files < kLoggedMax)
    LogError("scrub: {} lacks {} bytes, the first of them at byte {}", path, loss->bytes,
             loss->first_byte);
  report_->AddFile(std::move(path));
}

}  // namespace varve
