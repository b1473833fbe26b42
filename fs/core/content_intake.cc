#include "fs/core/content_intake.h"

#include <algorithm>
#include <cstring>

#include "fs/core/chunk_reads.h"
#include "store/base/log.h"

namespace varve {
namespace {

bool Same(ByteView a, ByteView b) {
  return a.size() == b.size() && std::memcmp(a.data(), b.data(), a.size()) == 0;
}

}  // namespace

ChunkIntake::ChunkIntake(Catalog& catalog, PackStore& packs, const Fingerprinter& fingerprinter,
                         InFlightChunks& in_flight)
    : catalog_(catalog), packs_(packs), fingerprinter_(fingerprinter), in_flight_(in_flight) {}

Status ChunkIntake::Take(std::span<const CutChunk> chunks, DigestLedger& ledger,
                         const std::function<bool()>& cancelled) {
  Name(chunks);
  Status status = FindAll();
  if (status.ok()) CompareAll();
  for (Candidate& candidate : candidates_) {
    if (status.ok() && cancelled()) status = Status(Code::kBusy, "the digest was cancelled");
    if (status.ok()) {
      status = Settle(candidate, ledger);
    } else if (candidate.found) {
      Drop(candidate.id, *candidate.found);
    }
  }
  return status;
}

void ChunkIntake::Name(std::span<const CutChunk> chunks) {
  candidates_.clear();
  first_of_name_.clear();
  for (const CutChunk& chunk : chunks) {
    Candidate candidate;
    candidate.chunk = chunk;
    candidate.id = fingerprinter_.Name(chunk.bytes);
    const auto [first, added] = first_of_name_.try_emplace(candidate.id, candidates_.size());
    if (!added) candidate.twin = first->second;
    candidates_.push_back(candidate);
  }
}

Status ChunkIntake::FindAll() {
  for (Candidate& candidate : candidates_) {
    if (candidate.twin) continue;
    ASSIGN_OR_RETURN(candidate.found, Find(candidate.id));
  }
  return {};
}

// Reads all stored copies in one batch, from the page cache if they are there.
void ChunkIntake::CompareAll() {
  reads_.clear();
  readers_.clear();
  size_t total = 0;
  for (size_t i = 0; i < candidates_.size(); ++i) {
    const Candidate& candidate = candidates_[i];
    if (!candidate.found || candidate.found->location.raw_bytes != candidate.chunk.bytes.size())
      continue;
    reads_.push_back({candidate.id, candidate.found->location, {}, Status()});
    readers_.push_back(i);
    total += candidate.chunk.bytes.size();
  }
  if (reads_.empty()) return;
  if (stored_copy_bytes_ < total) {
    stored_copy_ = std::make_unique_for_overwrite<uint8_t[]>(total);
    stored_copy_bytes_ = total;
  }
  size_t used = 0;
  for (ChunkRead& read : reads_) {
    read.out = {stored_copy_.get() + used, read.location.raw_bytes};
    used += read.location.raw_bytes;
  }
  // Each read carries its own status.
  (void)ReadChunks(catalog_, packs_, reads_, ReadFrom::kPageCache);
  for (size_t i = 0; i < reads_.size(); ++i) {
    Candidate& candidate = candidates_[readers_[i]];
    candidate.equal = reads_[i].status.ok() && Same(candidate.chunk.bytes, reads_[i].out);
  }
}

Status ChunkIntake::Settle(Candidate& candidate, DigestLedger& ledger) {
  if (candidate.twin) {
    const Candidate& twin = candidates_[*candidate.twin];
    if (twin.stored && Same(twin.chunk.bytes, candidate.chunk.bytes))
      return ledger.AddShared(candidate.id, candidate.chunk.bytes.size());
  }
  if (candidate.equal) {
    candidate.stored = true;
    return Share(candidate.id, *candidate.found, ledger);
  }
  if (candidate.found) Drop(candidate.id, *candidate.found);
  ASSIGN_OR_RETURN(candidate.stored, Store(candidate.id, candidate.chunk, ledger));
  return {};
}

Result<std::optional<ChunkIntake::Found>> ChunkIntake::Find(const ChunkId& id) {
  // In this order: a chunk leaves the table only when the index has it.
  if (const std::optional<ChunkLocation> location = in_flight_.Acquire(id))
    return std::optional<Found>(Found{*location, true});
  Result<std::optional<ChunkLocation>> location = FindLocation(catalog_, id);
  // A damaged row leads nowhere; the chunk is stored again and the row replaced.
  if (location.status().code() == Code::kCorrupt) return std::optional<Found>();
  if (!location.ok()) return location.status();
  if (!*location) return std::optional<Found>();
  return std::optional<Found>(Found{**location, false});
}

void ChunkIntake::Drop(const ChunkId& id, const Found& found) {
  if (found.in_flight) in_flight_.Release({id}, catalog_);
}

Status ChunkIntake::Share(const ChunkId& id, const Found& found, DigestLedger& ledger) {
  if (found.in_flight) return ledger.AddInFlight(id, found.location);
  return ledger.AddShared(id, found.location.raw_bytes);
}

Result<bool> ChunkIntake::Store(const ChunkId& id, const CutChunk& chunk, DigestLedger& ledger) {
  const EncodedChunk encoded = encoder_.Encode(chunk.bytes, chunk.elements);
  std::optional<Found> rival;
  ChunkLocation location;
  {
    MutexLock lock(in_flight_.NameLock(id));
    ASSIGN_OR_RETURN(rival, Find(id));
    if (!rival) {
      ASSIGN_OR_RETURN(location, packs_.Append(id, encoded, room_));
      in_flight_.Add(id, location);
    }
  }
  if (rival) return Contest(id, chunk.bytes, *rival, ledger);
  RETURN_IF_ERROR(ledger.AddNew(id, location));
  return true;
}

Result<bool> ChunkIntake::Contest(const ChunkId& id, ByteView bytes, const Found& rival,
                                  DigestLedger& ledger) {
  bool readable = false;
  if (SameBytes(id, rival.location, bytes, &readable)) {
    RETURN_IF_ERROR(Share(id, rival, ledger));
    return true;
  }
  Drop(id, rival);
  LogWarning("chunk {} of {} bytes cannot be shared: {}", ToText(id), bytes.size(),
             readable ? "another one has its name" : "its stored copy cannot be read");
  if (bytes.size() == 1) {
    if (readable || rival.location.raw_bytes != 1)
      return Status(Code::kCorrupt, "a chunk of one byte has the name of another chunk");
    RETURN_IF_ERROR(Heal(id, bytes, ledger));
    return true;
  }
  const size_t half = bytes.size() / 2;
  for (const ByteView part : {bytes.first(half), bytes.subspan(half)}) {
    const Result<bool> stored = Store(fingerprinter_.Name(part), {part}, ledger);
    if (!stored.ok()) return stored.status();
  }
  return false;
}

Status ChunkIntake::Heal(const ChunkId& id, ByteView bytes, DigestLedger& ledger) {
  ChunkLocation location;
  {
    MutexLock lock(in_flight_.NameLock(id));
    ASSIGN_OR_RETURN(location, packs_.Append(id, encoder_.Encode(bytes), room_));
    in_flight_.Replace(id, location);
  }
  return ledger.AddNew(id, location);
}

bool ChunkIntake::SameBytes(const ChunkId& id, const ChunkLocation& location, ByteView bytes,
                            bool* readable) {
  *readable = true;
  if (location.raw_bytes != bytes.size()) return false;
  std::vector<uint8_t> copy(location.raw_bytes);
  ChunkRead read{id, location, copy, Status()};
  *readable = ReadChunks(catalog_, packs_, {&read, 1}, ReadFrom::kPageCache).ok();
  return *readable && Same(bytes, copy);
}

}  // namespace varve
