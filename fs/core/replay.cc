#include "fs/core/replay.h"

#include <utility>

#include "fs/core/content_recipe.h"
#include "fs/core/journal.h"
#include "fs/core/keys.h"

namespace varve {
namespace {

constexpr uint64_t kBatchBytes = 1u << 20;
constexpr uint64_t kCommitBytes = 32u << 20;

}  // namespace

Status Replay::FindJournals() {
  const std::vector<uint32_t> packs = packs_.Packs();
  for (size_t i = 0; i < packs.size(); ++i) {
    Progress("looking for journals", i, packs.size());
    JournalInfo info;
    PackStore::ScanSink sink;
    sink.on_journal_info = [&](const JournalInfo& next) { info = next; };
    sink.on_journal = [&](uint64_t, ByteView) { journals_.Add(packs[i], info); };
    RETURN_IF_ERROR(packs_.Scan(packs[i], /*verify_payload=*/false, sink));
  }
  places_ = journals_.InOrder();
  if (places_.empty()) return Status(Code::kCorrupt, "the packs hold no journal");
  return {};
}

Status Replay::Fill(Catalog& catalog) {
  catalog_ = &catalog;
  const std::vector<uint32_t> packs = packs_.Packs();
  for (size_t i = 0; i < packs.size(); ++i) {
    Progress("placing chunks", i, packs.size());
    RETURN_IF_ERROR(AddChunks(packs[i]));
  }
  RETURN_IF_ERROR(Flush());
  for (size_t i = 0; i < based_.size(); ++i) {
    Progress("placing chunks with bases", i, based_.size());
    RETURN_IF_ERROR(AddBased(based_[i]));
  }
  for (size_t at = 0; at < places_.size();) {
    Progress("replaying journals", at, places_.size());
    RETURN_IF_ERROR(ReadFrom(&at));
  }
  return Flush();
}

Status Replay::AddChunks(uint32_t pack) {
  Status failed;
  PackStore::ScanSink sink;
  // Of two copies the later one stays: it was made because the first was damaged, or
  // was to be removed.
  sink.on_chunk = [&](const ChunkId& id, const ChunkLocation& location) {
    ++counts_.chunks;
    if (HasBase(location.encoding)) {
      if (based_.empty() || based_.back() != pack) based_.push_back(pack);
      return;
    }
    if (failed.ok()) failed = Add(key::Chunk(id), EncodeLocation(location));
  };
  RETURN_IF_ERROR(packs_.Scan(pack, /*verify_payload=*/false, sink));
  return failed;
}

// Where a chunk is there as it is, too, that copy needs nothing else; and what others are made
// from may have to be it.
Status Replay::AddBased(uint32_t pack) {
  Status failed;
  PackStore::ScanSink sink;
  sink.on_chunk = [&](const ChunkId& id, const ChunkLocation& location) {
    if (!HasBase(location.encoding) || !failed.ok()) return;
    const Result<std::optional<ChunkLocation>> known = FindLocation(*catalog_, id);
    failed = known.status();
    if (!known.ok() || (*known && !HasBase((*known)->encoding))) return;
    failed = Add(key::Chunk(id), EncodeLocation(location));
  };
  RETURN_IF_ERROR(packs_.Scan(pack, /*verify_payload=*/false, sink));
  return failed;
}

Status Replay::ReadFrom(size_t* at) {
  const uint32_t pack = places_[*at].pack;
  Status failed;
  JournalInfo info;
  PackStore::ScanSink sink;
  sink.on_journal_info = [&](const JournalInfo& next) { info = next; };
  sink.on_journal = [&](uint64_t, ByteView record) {
    if (!failed.ok() || *at == places_.size()) return;
    if (places_[*at].pack != pack || places_[*at].offset_bytes != info.offset_bytes) return;
    ++*at;
    failed = ReadRecord(record);
  };
  const size_t before = *at;
  RETURN_IF_ERROR(packs_.Scan(pack, /*verify_payload=*/false, sink));
  RETURN_IF_ERROR(failed);
  return *at > before ? Status() : Status(Code::kIo, "a pack changed while it was read");
}

Status Replay::ReadRecord(ByteView record) {
  ASSIGN_OR_RETURN(std::vector<Batch::Change> changes, DecodeJournal(AsText(record)));
  ++counts_.journals;
  counts_.changes += changes.size();
  for (Batch::Change& change : changes)
    RETURN_IF_ERROR(Add(std::move(change.key), std::move(change.value)));
  return {};
}

Status Replay::Add(std::string key, std::optional<std::string> value) {
  batch_bytes_ += key.size() + (value ? value->size() : 0) + 64;
  value ? batch_.Put(std::move(key), *std::move(value)) : batch_.Delete(std::move(key));
  return batch_bytes_ < kBatchBytes ? Status() : Flush();
}

Status Replay::Flush() {
  RETURN_IF_ERROR(catalog_->Apply(std::exchange(batch_, Batch())));
  uncommitted_bytes_ += std::exchange(batch_bytes_, 0);
  if (uncommitted_bytes_ < kCommitBytes) return {};
  uncommitted_bytes_ = 0;
  return catalog_->Commit({});  // no journal: the packs have it all
}

}  // namespace varve
