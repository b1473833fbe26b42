#include "fs/core/scrub_packs.h"

#include <fmt/format.h>

#include <algorithm>

#include "fs/core/fsck_chunks.h"
#include "store/base/log.h"

namespace varve {
namespace {

// Names are hashes; of two places of one chunk only one may be intact.
uint64_t HashOfPlace(const ChunkId& id, const ChunkLocation& location) {
  constexpr uint64_t kOdd = 0x9e3779b97f4a7c15;
  return ShortName(id) ^ ((uint64_t{location.pack} << 32 | location.offset_bytes) * kOdd);
}

}  // namespace

bool IsShortage(const Status& status) {
  const int os_errno = status.os_errno();
  return os_errno == EMFILE || os_errno == ENFILE || os_errno == ENOMEM || os_errno == EAGAIN;
}

Status ScrubPacks::Scan(const PackInfo& info) {
  Damage damage;
  const Status scanned = ScanFile(info.pack, &damage);
  if (scanned.code() == Code::kBusy || IsShortage(scanned)) return scanned;
  if (scanned.code() == Code::kNotFound) {
    missing_.push_back(info.pack);
    return Status();
  }
  if (!scanned.ok()) damage.emplace_back(0, scanned.ToString());
  // Removed while it was read, when nothing needed it any more.
  if (!IsListed(info.pack)) return Status();
  ++report_.packs;
  return Report(info.pack, damage);
}

Status ScrubPacks::ScanFile(uint32_t pack, Damage* damage) {
  PackStore::ScanSink sink;
  sink.before_read = d_.before_read;
  sink.on_chunk = [this](const ChunkId& id, const ChunkLocation& location) {
    intact_.Add(HashOfPlace(id, location));
    ++report_.chunks;
  };
  sink.on_damage = [damage](uint64_t offset, const std::string& why) {
    damage->emplace_back(offset, why);
  };
  Status scanned;
  d_.reader([&] { scanned = d_.packs.Scan(pack, /*verify_payload=*/true, sink); });
  return scanned;
}

Status ScrubPacks::Report(uint32_t pack, const Damage& damage) {
  for (const auto& [offset, why] : damage) {
    ASSIGN_OR_RETURN(const std::optional<std::string> known,
                     d_.catalog.Get(DamageKey(pack, offset)));
    if (known) {
      ++report_.known_places;
      continue;
    }
    std::string sentence = fmt::format("pack {:08x} is damaged at byte {}: {}", pack, offset, why);
    LogError("scrub: {}", sentence);
    report_.AddPlace(std::move(sentence));
  }
  return Status();
}

Status ScrubPacks::Settle() {
  intact_.Settle();
  // A removal takes the file away a moment before it takes the pack off the list.
  std::erase_if(missing_, [this](uint32_t pack) { return !IsListed(pack); });
  for (const uint32_t pack : missing_) {
    std::string sentence = fmt::format("pack {:08x} is gone", pack);
    LogError("scrub: {}", sentence);
    report_.AddPlace(std::move(sentence));
  }
  return Status();
}

bool ScrubPacks::IsIntact(const ChunkId& id, const ChunkLocation& location) const {
  return intact_.Has(HashOfPlace(id, location));
}

bool ScrubPacks::IsLost(uint32_t pack) const {
  return std::binary_search(missing_.begin(), missing_.end(), pack);
}

bool ScrubPacks::IsListed(uint32_t pack) const {
  const std::vector<uint32_t> packs = d_.packs.Packs();
  return std::binary_search(packs.begin(), packs.end(), pack);
}

}  // namespace varve
