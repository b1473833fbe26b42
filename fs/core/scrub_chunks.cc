#include "fs/core/scrub_chunks.h"

#include <algorithm>
#include <utility>

#include "fs/core/chunk_reads.h"
#include "fs/core/content_recipe.h"
#include "fs/core/row_pages.h"
#include "store/base/log.h"

namespace varve {
namespace {

constexpr uint64_t kReadAtOnceBytes = 4 << 20;
constexpr uint64_t kLoggedMax = 1000;

bool IsPossible(const ChunkLocation& location) {
  return location.raw_bytes > 0 && location.raw_bytes <= kChunkBytesMax;
}

}  // namespace

Status ScrubChunks::Run() {
  const Status walked =
      ForEachPage(d_.catalog, key::Table(key::kChunk), [&](const RowPage& page) -> Status {
        RETURN_IF_ERROR(d_.before_read(0));  // whether to go on
        for (const auto& [row_key, row] : page) {
          const ChunkId id = key::ChunkOf(row_key);
          const Result<ChunkLocation> location = DecodeLocation(row);
          if (!location.ok() || !IsPossible(*location)) {
            AddDamaged({id, {}}, "its place in the index makes no sense");
          } else if (!scanned_.IsIntact(id, *location)) {
            RETURN_IF_ERROR(Judge({id, *location}));
          }
        }
        return Status();
      });
  RETURN_IF_ERROR(walked);
  RETURN_IF_ERROR(ReadSuspects());
  // Bases have bases.
  for (uint64_t before = 0; before < report_.damaged_chunks && !damaged_.empty();) {
    before = report_.damaged_chunks;
    RETURN_IF_ERROR(FindBaseless());
  }
  return Status();
}

Status ScrubChunks::FindBaseless() {
  return ForEachPage(d_.catalog, key::Table(key::kChunk), [&](const RowPage& page) -> Status {
    RETURN_IF_ERROR(d_.before_read(0));  // whether to go on
    for (const auto& [row_key, row] : page) {
      const ChunkId id = key::ChunkOf(row_key);
      const Result<ChunkLocation> location = DecodeLocation(row);
      if (!location.ok() || damaged_.contains(id)) continue;
      if (damaged_.contains(location->base)) AddDamaged({id, *location}, "its base is damaged");
    }
    return Status();
  });
}

Status ScrubChunks::Judge(const Suspect& suspect) {
  if (scanned_.IsLost(suspect.location.pack)) {
    // No collection removed the pack; but the chunk may have been stored anew.
    ASSIGN_OR_RETURN(const std::optional<ChunkLocation> now, FindLocation(d_.catalog, suspect.id));
    if (now == suspect.location) AddDamaged(suspect, "its pack is gone");
    return Status();
  }
  suspects_.push_back(suspect);
  suspect_bytes_ += suspect.location.raw_bytes;
  return suspect_bytes_ < kReadAtOnceBytes ? Status() : ReadSuspects();
}

Status ScrubChunks::ReadSuspects() {
  while (!suspects_.empty()) {
    uint64_t stored_bytes = 0;
    memory_.resize(std::max<size_t>(memory_.size(), suspect_bytes_));
    std::vector<ChunkRead> reads;
    MutableBytes left = memory_;
    for (const Suspect& suspect : suspects_) {
      const size_t raw_bytes = suspect.location.raw_bytes;
      reads.push_back({suspect.id, suspect.location, left.first(raw_bytes), {}});
      left = left.subspan(raw_bytes);
      stored_bytes += suspect.location.stored_bytes;
    }
    RETURN_IF_ERROR(d_.before_read(stored_bytes));
    (void)ReadChunks(d_.catalog, d_.packs, reads);  // each tells its own status
    std::vector<Suspect> again;
    for (const ChunkRead& read : reads) RETURN_IF_ERROR(JudgeRead(read, &again));
    suspects_ = std::move(again);
    suspect_bytes_ = 0;
    for (const Suspect& suspect : suspects_) suspect_bytes_ += suspect.location.raw_bytes;
  }
  return Status();
}

// Who has another place now is read again. That ends: each turn takes a change of place.
Status ScrubChunks::JudgeRead(const ChunkRead& read, std::vector<Suspect>* again) {
  if (read.status.ok()) {
    ++report_.chunks;
    return Status();
  }
  if (IsShortage(read.status)) return read.status;
  ASSIGN_OR_RETURN(const std::optional<ChunkLocation> now, FindLocation(d_.catalog, read.id));
  if (!now) return Status();  // collected
  if (*now != read.location && IsPossible(*now)) {
    again->push_back({read.id, *now});
  } else {
    AddDamaged({read.id, *now}, read.status.context());
  }
  return Status();
}

void ScrubChunks::AddDamaged(const Suspect& suspect, std::string_view why) {
  ++report_.damaged_chunks;
  if (damaged_.size() < kDamagedMax) damaged_.insert(suspect.id);
  if (report_.damaged_chunks <= kLoggedMax)
    LogError("scrub: chunk {} in pack {:08x} at byte {} is damaged: {}", ToText(suspect.id),
             suspect.location.pack, suspect.location.offset_bytes, why);
}

}  // namespace varve
