#include "fs/core/collect_packs.h"

#include <algorithm>

#include "fs/core/content_recipe.h"
#include "fs/core/journal.h"
#include "fs/core/journal_set.h"
#include "fs/core/row_pages.h"
#include "store/base/log.h"

namespace varve {
namespace {

constexpr size_t kMovedAtOnce = 64;
// A header, a table and two paddings.
constexpr uint64_t kPackOverheadBytes = 16 << 10;
// What moving costs has to pay off.
constexpr unsigned kDeadPercent = 25;
constexpr unsigned kDeadPercentThorough = 5;
// Of the index, so much has to be gained.
constexpr uint64_t kBaseShare = 2;
// Of the room, what is moved may take so much: others write, too.
constexpr uint64_t kMoveShare = 2;

}  // namespace

Status CollectPacks::Choose() {
  const Status sealed = d_.packs.Seal();
  // On a full disk those that are closed already have to do.
  if (!sealed.ok() && sealed.code() != Code::kNoSpace) return sealed;
  for (const PackInfo& info : d_.packs.Infos())
    if (!info.writing) candidates_[info.pack] = info.bytes;
  return Status();
}

Result<CollectPacks::Freed> CollectPacks::Run(const std::map<uint32_t, PackContents>& live,
                                              bool thorough, const std::set<uint32_t>& emptied) {
  // A place that only a running digest knows would be lost.
  std::erase_if(candidates_,
                [&](const auto& candidate) { return d_.contents.UsesPack(candidate.first); });
  std::set<uint32_t> chosen = ChooseEmptiest(live, thorough);
  for (const uint32_t pack : emptied)
    if (candidates_.contains(pack)) chosen.insert(pack);
  if (chosen.empty()) return freed_;
  RETURN_IF_ERROR(FreeJournals(emptied, &chosen));
  while (!chosen.empty()) RETURN_IF_ERROR(Empty(TakeWhatFits(live, &chosen)));
  return freed_;
}

std::set<uint32_t> CollectPacks::TakeWhatFits(const std::map<uint32_t, PackContents>& live,
                                              std::set<uint32_t>* chosen) {
  std::vector<std::pair<uint64_t, uint32_t>> by_live_bytes;
  for (const uint32_t pack : *chosen) {
    const auto used = live.find(pack);
    by_live_bytes.emplace_back(used == live.end() ? 0 : used->second.bytes, pack);
  }
  std::sort(by_live_bytes.begin(), by_live_bytes.end());
  const uint64_t room_bytes = d_.room_bytes() / kMoveShare;
  std::set<uint32_t> taken;
  uint64_t moved_bytes = 0;
  for (const auto& [live_bytes, pack] : by_live_bytes) {
    moved_bytes += live_bytes;
    if (!taken.empty() && moved_bytes > room_bytes) break;
    taken.insert(pack);
    chosen->erase(pack);
  }
  return taken;
}

Status CollectPacks::Empty(const std::set<uint32_t>& packs) {
  RETURN_IF_ERROR(MoveChunks(packs));
  RETURN_IF_ERROR(d_.commit());
  for (const uint32_t pack : packs) {
    if (kept_.contains(pack)) {
      ++freed_.left;
      continue;
    }
    RETURN_IF_ERROR(d_.packs.Remove(pack));
    ++freed_.packs;
    freed_.bytes += candidates_.at(pack);
  }
  return Status();
}

// Journals do not move: a pack that holds some that a rebuild needs goes only if a base
// takes their place, which costs as much as all rows.
Status CollectPacks::FreeJournals(const std::set<uint32_t>& emptied, std::set<uint32_t>* chosen) {
  ASSIGN_OR_RETURN(const JournalSet journals, JournalSet::Find(d_.packs));
  std::set<uint32_t> needed = journals.NeededPacks();
  uint64_t held_bytes = 0;
  bool any_emptied = false;
  for (const uint32_t pack : *chosen) {
    if (!needed.contains(pack)) continue;
    held_bytes += candidates_.at(pack);
    any_emptied |= emptied.contains(pack);
  }
  if (any_emptied || held_bytes > d_.catalog.Stats().index_bytes / kBaseShare) {
    ASSIGN_OR_RETURN(const bool written, WriteBase());
    ASSIGN_OR_RETURN(const JournalSet left, JournalSet::Find(d_.packs));
    needed = left.NeededPacks();
    const size_t kept =
        std::erase_if(*chosen, [&](uint32_t pack) { return needed.contains(pack); });
    if (!written) freed_.left += kept;
    return Status();
  }
  std::erase_if(*chosen, [&](uint32_t pack) { return needed.contains(pack); });
  return Status();
}

// False without room for it. An attempt that ends early would take the room of the next one.
Result<bool> CollectPacks::WriteBase() {
  const uint64_t room_bytes = d_.room_bytes();
  if (room_bytes < d_.catalog.Stats().index_bytes) {
    ASSIGN_OR_RETURN(const uint64_t bytes, BaseJournalBytes(d_.catalog));
    if (bytes > room_bytes) {
      LogWarning("packs with journals stay: a base journal of {} bytes is too long for {} bytes",
                 bytes, room_bytes);
      return false;
    }
  }
  const Status written = WriteBaseJournal(d_.packs, d_.catalog, d_.commit).status();
  if (!written.ok() && written.code() != Code::kNoSpace) return written;
  if (!written.ok()) LogWarning("packs with journals stay: {}", written.ToString());
  return written.ok();
}

std::set<uint32_t> CollectPacks::ChooseEmptiest(const std::map<uint32_t, PackContents>& live,
                                                bool thorough) {
  std::set<uint32_t> chosen;
  const unsigned percent = thorough ? kDeadPercentThorough : kDeadPercent;
  for (const auto& [pack, bytes] : candidates_) {
    const auto used = live.find(pack);
    const uint64_t live_bytes = used == live.end() ? 0 : used->second.bytes + kPackOverheadBytes;
    const uint64_t dead_bytes = bytes - std::min(bytes, live_bytes);
    if (live_bytes == 0 || dead_bytes * 100 > bytes * percent) chosen.insert(pack);
  }
  return chosen;
}

Status CollectPacks::MoveChunks(const std::set<uint32_t>& from) {
  std::vector<ChunkMove> moves;
  const Status walked =
      ForEachPage(d_.catalog, key::Table(key::kChunk), [&](const RowPage& page) -> Status {
        for (const auto& [row_key, row] : page) {
          ASSIGN_OR_RETURN(const ChunkLocation location, DecodeLocation(row));
          if (!from.contains(location.pack)) continue;
          ChunkMove move;
          move.id = key::ChunkOf(row_key);
          move.from = location;
          moves.push_back(move);
          if (moves.size() == kMovedAtOnce) RETURN_IF_ERROR(MoveSome(&moves));
        }
        return pause_() ? Status() : Status(Code::kBusy, "the collection was stopped");
      });
  RETURN_IF_ERROR(walked);
  return MoveSome(&moves);
}

Status CollectPacks::MoveSome(std::vector<ChunkMove>* moves) {
  if (moves->empty()) return Status();
  (void)d_.packs.Move(*moves);  // each tells its own status
  const Status synced = d_.packs.Sync();
  if (!synced.ok() && synced.code() != Code::kNoSpace) return synced;
  Batch batch;
  for (ChunkMove& move : *moves) {
    if (!synced.ok()) move.status = synced;
    if (!move.status.ok()) {
      // A damaged one is where `fsck` finds it; without room the rest waits.
      kept_.insert(move.from.pack);
      if (move.status.code() != Code::kNoSpace)
        LogWarning("chunk {} stays in pack {}: {}", ToText(move.id), move.from.pack,
                   move.status.ToString());
      continue;
    }
    // Gone meanwhile, or stored anew: that is right as it is.
    ASSIGN_OR_RETURN(const std::optional<ChunkLocation> now, FindLocation(d_.catalog, move.id));
    if (!now || now->pack != move.from.pack || now->offset_bytes != move.from.offset_bytes)
      continue;
    batch.Put(key::Chunk(move.id), EncodeLocation(move.to));
    freed_.moved_bytes += move.to.stored_bytes;
  }
  moves->clear();
  return batch.empty() ? Status() : d_.catalog.Apply(batch);
}

}  // namespace varve
