#include "fs/core/chunk_reads.h"

#include <algorithm>
#include <memory>
#include <optional>
#include <string>
#include <unordered_map>
#include <vector>

#include "fs/core/content_recipe.h"

namespace varve {
namespace {

// Of bases in memory at one time, for each link of a chain.
constexpr size_t kBasesAtOnceBytes = 16u << 20;

bool IsMade(const ChunkRead& read) { return HasBase(read.location.encoding); }

// Ok when `read` has another place now and is worth another try.
Status LocateAgain(Catalog& catalog, ChunkRead* read) {
  ASSIGN_OR_RETURN(const std::optional<ChunkLocation> location, FindLocation(catalog, read->id));
  if (!location) {
    return Status(Code::kCorrupt, "chunk " + ToText(read->id) + " is not in the index any more");
  }
  if (*location == read->location) {
    return Status(Code::kCorrupt,
                  "chunk " + ToText(read->id) + " is lost: " + std::string(read->status.context()));
  }
  if (location->raw_bytes != read->out.size()) {
    return Status(Code::kCorrupt, "chunk " + ToText(read->id) + " has another size");
  }
  read->location = *location;
  return {};
}

// Each read carries its own status.
class Reads {
 public:
  Reads(Catalog& catalog, PackStore& packs, ReadFrom from)
      : catalog_(catalog), packs_(packs), from_(from) {}

  // `links`: how many chunks that are made from this one lead here.
  void Read(std::span<ChunkRead> reads, size_t links) {
    ReadOnce(reads, links);
    // Ends, because each turn takes a location that changed meanwhile; more than one is
    // hardly ever needed.
    while (true) {
      std::vector<ChunkRead*> stale;
      for (ChunkRead& read : reads) {
        if (read.status.code() != Code::kNotFound) continue;
        if (Status status = LocateAgain(catalog_, &read); status.ok()) {
          stale.push_back(&read);
        } else {
          read.status = std::move(status);
        }
      }
      if (stale.empty()) return;
      ReadApart(stale, [&](std::span<ChunkRead> again) { ReadOnce(again, links); });
    }
  }

 private:
  // Like `read` does with copies of them, one after the other.
  template <typename Read>
  static void ReadApart(std::span<ChunkRead* const> reads, Read read) {
    std::vector<ChunkRead> copies;
    copies.reserve(reads.size());
    for (const ChunkRead* one : reads) copies.push_back(*one);
    read(std::span(copies));
    for (size_t i = 0; i < reads.size(); ++i) reads[i]->status = std::move(copies[i].status);
  }

  void ReadOnce(std::span<ChunkRead> reads, size_t links) {
    if (std::none_of(reads.begin(), reads.end(), IsMade)) {
      (void)packs_.Read(reads, from_);
      return;
    }
    std::vector<ChunkRead*> plain, some;
    size_t bytes = 0;
    for (ChunkRead& read : reads) {
      if (!IsMade(read)) {
        plain.push_back(&read);
        continue;
      }
      if (bytes + read.out.size() > kBasesAtOnceBytes) {
        ReadMade(std::exchange(some, {}), links);
        bytes = 0;
      }
      some.push_back(&read);
      bytes += read.out.size();
    }
    ReadMade(some, links);
    ReadApart(plain, [&](std::span<ChunkRead> copies) { (void)packs_.Read(copies, from_); });
  }

  void ReadMade(const std::vector<ChunkRead*>& reads, size_t links) {
    if (reads.empty()) return;
    if (links == kBaseLinksMax) {
      for (ChunkRead* read : reads)
        read->status = Status(
            Code::kCorrupt, "chunk " + ToText(read->id) + ": its bases lead to bases without end");
      return;
    }
    std::unordered_map<ChunkId, size_t, ChunkIdHash> place_of;
    std::vector<ChunkRead> bases;
    for (const ChunkRead* read : reads) {
      if (!place_of.try_emplace(read->location.base, bases.size()).second) continue;
      bases.push_back(FindBase(*read));
    }
    std::vector<std::unique_ptr<uint8_t[]>> memory;
    std::vector<ChunkRead*> found;
    for (ChunkRead& base : bases) {
      if (!base.status.ok()) continue;
      memory.push_back(std::make_unique_for_overwrite<uint8_t[]>(base.location.raw_bytes));
      base.out = {memory.back().get(), base.location.raw_bytes};
      found.push_back(&base);
    }
    ReadApart(found, [&](std::span<ChunkRead> copies) { Read(copies, links + 1); });

    std::vector<ChunkRead*> ready;
    for (ChunkRead* read : reads) {
      const ChunkRead& base = bases[place_of.at(read->location.base)];
      if (base.status.ok()) {
        read->base = base.out;
        ready.push_back(read);
      } else {
        read->status = Lost(*read, base.status);
      }
    }
    ReadApart(ready, [&](std::span<ChunkRead> copies) { (void)packs_.Read(copies, from_); });
    for (ChunkRead* read : ready) read->base = {};
  }

  ChunkRead FindBase(const ChunkRead& read) {
    ChunkRead base{read.location.base, {}, {}};
    const Result<std::optional<ChunkLocation>> location = FindLocation(catalog_, base.id);
    if (!location.ok()) {
      base.status = location.status();
    } else if (!*location) {
      base.status = Status(Code::kNotFound, "it is not in the index");
    } else if ((*location)->raw_bytes > kChunkBytesMax) {
      base.status = Status(Code::kCorrupt, "it has an impossible size");
    } else {
      base.location = **location;
    }
    return base;
  }

  // A base may have gone because the chunk is not made from it any more: then the index
  // knows another place of the chunk, which is for Read() to find out.
  static Status Lost(const ChunkRead& read, const Status& base) {
    const bool gone = base.code() == Code::kNotFound || base.code() == Code::kCorrupt;
    if (!gone) return base;
    return Status(Code::kNotFound, "its base, chunk " + ToText(read.location.base) + ": " +
                                       std::string(base.context()));
  }

  Catalog& catalog_;
  PackStore& packs_;
  const ReadFrom from_;
};

}  // namespace

Status ReadChunks(Catalog& catalog, PackStore& packs, std::span<ChunkRead> reads, ReadFrom from) {
  Reads(catalog, packs, from).Read(reads, 0);
  for (const ChunkRead& read : reads) RETURN_IF_ERROR(read.status);
  return {};
}

}  // namespace varve
