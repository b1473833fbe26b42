// Durable storage of immutable chunks in append-only pack files.
//
// The store turns bytes into a ChunkLocation, and a ChunkLocation back into the
// same bytes. It does not know which chunks exist, what files they belong to or
// how often they are used: that is index/'s job. Callers keep two rules, and
// every crash test checks them:
//
//   write:   Append() -> Sync() -> commit the location to the index
//   delete:  commit the removal to the index -> Release()
//
// So a location the index names is always durable. After a crash the store may
// hold chunks the index never named; they cost space until fsck releases them.
// Packs also carry journals: opaque records with a sequence number from which
// the whole index can be rebuilt when it is lost.
//
// Threads:  all methods may be called concurrently; Read() never waits for
//           Append() or Sync().
// Errors:   kCorrupt means a checksum failed; wrong bytes are never returned.
//           After kIo from Append() or Sync() the store is fenced: further
//           Append() and Sync() fail with kReadOnly until it is reopened.
//           kNoSpace leaves the store unchanged and usable.
// Units:    bytes. A chunk holds 1 to kChunkBytesMax bytes before encoding.
// Format:   docs/FORMAT.md, "Pack file".
#pragma once

#include <functional>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "store/base/bytes.h"
#include "store/base/disk.h"
#include "store/base/result.h"
#include "store/chunk/chunk.h"
#include "store/chunk/fingerprint.h"
#include "store/codec/codec.h"

namespace varve {

struct ChunkRead {
  ChunkId id;
  ChunkLocation location;
  MutableBytes out;  // exactly location.raw_bytes
  Status status;     // filled in by Read()
};

struct PackStoreOptions {
  bool io_uring = true;  // falls back by itself; see uring_reason()
  uint32_t pack_bytes_target = 64u << 20;
  unsigned decode_threads = 0;  // besides whoever reads; 0: by the number of cores
};

enum class ReadFrom {
  kDisk,       // O_DIRECT, many at once: for content that is read for a user
  kPageCache,  // for content that was likely read or written a moment ago
};

struct PackUsage {
  uint64_t packs = 0;
  uint64_t bytes = 0;  // of all pack files
};

class PackStore {
 public:
  virtual ~PackStore() = default;

  // Stores one chunk and says where. The bytes are copied before returning, and
  // are durable only after a later Sync().
  // REQUIRES: `chunk` was encoded from bytes that hash to `id`.
  virtual Result<ChunkLocation> Append(const ChunkId& id, const EncodedChunk& chunk) = 0;

  // Stores a journal record of up to 64 MiB. Sequence numbers only grow.
  virtual Status AppendJournal(uint64_t sequence, ByteView record) = 0;

  // Returns once every Append() that had returned before this call survives
  // power loss. Concurrent calls share one disk flush.
  virtual Status Sync() = 0;

  // Performs all `reads`, in any order and in parallel, decodes and verifies
  // each against its id, and fills in each one's status. Returns the first error;
  // `out` is undefined where a read failed. Takes a bounded amount of memory,
  // however many reads there are; more than a few at once is faster.
  virtual Status Read(std::span<ChunkRead> reads, ReadFrom from = ReadFrom::kDisk) = 0;

  // Calls `on_chunk` / `on_journal` for every intact record of one pack, in
  // order, and then `on_damage` for everything that was durable once and is no
  // intact record now; what a crash tore before it was durable is not damage. A
  // sealed pack is told from its table, which reads only that and the journals.
  // A pack that is still appended to is flushed first. Callbacks may be empty.
  // Fails with kUnsupported for a pack of a later format.
  struct ScanSink {
    std::function<void(const ChunkId&, const ChunkLocation&)> on_chunk;
    std::function<void(uint64_t sequence, ByteView record)> on_journal;
    std::function<void(uint64_t offset_bytes, const std::string& why)> on_damage;
  };
  // `verify_payload` also decodes every chunk and checks its name.
  virtual Status Scan(uint32_t pack, bool verify_payload, const ScanSink& sink) = 0;
  virtual std::vector<uint32_t> Packs() const = 0;  // ascending

  virtual PackUsage Usage() const = 0;
  // "" when io_uring moves the bytes, else one sentence why not.
  virtual std::string uring_reason() const = 0;
};

// Opens the packs in directory `path` of `disk`, which is created if missing.
// New chunks always go to a new pack, so what a crash tore is never appended to.
Result<std::unique_ptr<PackStore>> OpenPackStore(Disk& disk, const std::string& path,
                                                 const Fingerprinter& fingerprinter,
                                                 const PackStoreOptions& options);

}  // namespace varve
