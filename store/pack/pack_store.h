// Durable storage of immutable chunks in append-only pack files.
//
// The store turns bytes into a ChunkLocation, and a ChunkLocation back into the
// same bytes. It does not know which chunks exist, what files they belong to or
// how often they are used: that is index/'s job. Callers keep two rules, and
// every crash test checks them:
//
//   write:   Append() -> Sync() -> commit the location to the index
//   delete:  commit, durably, that the index names nothing in a pack -> Remove()
//
// So a location the index names is always durable. After a crash the store may
// hold chunks the index never named, and packs that it names no more: they cost
// space until a collector finds them again. Who looked up a location may come to
// read it after its pack was removed; Read() says kNotFound, and he looks again.
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
#include "store/pack/journal_label.h"

namespace varve {

struct ChunkRead {
  ChunkId id;
  ChunkLocation location;
  MutableBytes out;    // exactly location.raw_bytes
  Status status = {};  // filled in by Read()
  ByteView base = {};  // where there is one: all of location.base
};

struct JournalInfo {
  JournalLabel label;
  uint32_t offset_bytes = 0;
  uint32_t stored_bytes = 0;
};

struct ChunkMove {
  ChunkId id;
  ChunkLocation from;
  ChunkLocation to;  // filled in by Move() where status is ok
  Status status;     // filled in by Move()
};

struct PackStoreOptions {
  bool io_uring = true;  // falls back by itself; see uring_reason()
  uint32_t pack_bytes_target = 64u << 20;
  unsigned decode_threads = 0;  // besides whoever reads; 0: by the number of cores
};

// What a record is for, which decides what room it may take on a full disk.
enum class RoomFor {
  kContent,     // only what is free
  kUpkeep,      // half of the reserve too: commits, and what frees as much as it takes
  kCollection,  // all of the reserve too: what has to be written before anything is freed
};

enum class ReadFrom {
  kDisk,       // O_DIRECT, many at once: for content that is read for a user
  kPageCache,  // for content that was likely read or written a moment ago
};

struct PackUsage {
  uint64_t packs = 0;
  uint64_t bytes = 0;  // of all pack files
};

struct PackInfo {
  uint32_t pack = 0;
  uint64_t bytes = 0;    // of its file, with what is not flushed yet
  bool writing = false;  // not sealed yet: it cannot be removed
};

class PackStore {
 public:
  virtual ~PackStore() = default;

  // Stores one chunk and says where. The bytes are copied before returning, and
  // are durable only after a later Sync().
  // REQUIRES: `chunk` was encoded from bytes that hash to `id`. The caller sees to it that
  // its base, if it has one, stays as long as it does.
  virtual Result<ChunkLocation> Append(const ChunkId& id, const EncodedChunk& chunk,
                                       RoomFor room) = 0;

  // Stores a journal record of up to 64 MiB. Sequence numbers only grow.
  virtual Status AppendJournal(uint64_t sequence, ByteView record, RoomFor room) = 0;
  // The same for one part of a base journal, whose sequence is an earlier one. Parts
  // come in their order, those of one base journal at a time; others may lie between.
  // It has the room of a collection. REQUIRES: label.part > 0.
  virtual Status AppendBaseJournal(const JournalLabel& label, ByteView record) = 0;

  // Returns once every Append() that had returned before this call survives
  // power loss. Concurrent calls share one disk flush.
  virtual Status Sync() = 0;

  // Sync(), and closes the packs that hold those appends: what is appended later
  // goes to a new pack. One that the reserve has become stays open until there is room
  // for another reserve. Fails as Sync() does.
  virtual Status Seal() = 0;

  // From now on so many bytes are kept allocated for what makes room on a full disk, once
  // so many are free; to be called again from time to time.
  virtual void KeepReserve(uint64_t bytes) = 0;
  // Gives back what earlier sessions kept; false if that is nothing. For a store that cannot
  // be opened otherwise. REQUIRES: before KeepReserve().
  virtual bool DropReserve() = 0;
  // What of it can be taken for that at this moment.
  virtual uint64_t reserve_bytes(RoomFor room) = 0;

  // Appends copies of chunks of sealed packs, as they are encoded, and says where. As
  // with Append() the copies are durable only after a later Sync(). Reads past the page
  // cache, neighbours together, in the order of the packs; a thousand moves at once are
  // a good number. They have the room of a collection. Returns the first error; each move has its
  // own status: kCorrupt: record or name do not match their hashes, and it stays where it is (who
  //   knows its place may still be able to read it: only its header may be damaged);
  // kBusy: its pack is not sealed; kNotFound: there is no such pack; kIo: not readable;
  // what Append() fails with, for it and all that follow: those before it were copied.
  // REQUIRES: each chunk once.
  virtual Status Move(std::span<ChunkMove> moves) = 0;

  // Deletes a pack and returns when that is durable; who reads from it now gets to
  // the end of it. A crash in between may leave the pack, which nobody names then.
  // Its number may be given again by a later session.
  // REQUIRES: the index names nothing in it, and that is durable; whatever journal
  // it holds is superseded by a durable one (docs/FORMAT.md, "Journal").
  // Fails with kBusy while the pack is being written (see Seal()), kNotFound for one
  // that is not in Packs(), kReadOnly when fenced; kIo from the flush fences.
  virtual Status Remove(uint32_t pack) = 0;

  // Performs all `reads`, in any order and in parallel, decodes and verifies
  // each against its id, and fills in each one's status. Returns the first error;
  // `out` is undefined where a read failed. Takes a bounded amount of memory,
  // however many reads there are; more than a few at once is faster.
  // A read from a pack that does not exist fails with kNotFound: removed meanwhile,
  // or lost if the index still names it.
  virtual Status Read(std::span<ChunkRead> reads, ReadFrom from = ReadFrom::kDisk) = 0;

  // Calls `on_chunk` / `on_journal` for every intact record of one pack, in
  // order, and then `on_damage` for everything that was durable once and is no
  // intact record now; what a crash tore before it was durable is not damage. A
  // sealed pack is told from its table, which reads only that and the journals.
  // A pack that is still appended to is flushed first. Callbacks may be empty.
  // Fails with kUnsupported for a pack of a later format, kNotFound for no pack.
  struct ScanSink {
    std::function<void(const ChunkId&, const ChunkLocation&)> on_chunk;
    // Comes before on_journal, for the same record. Without on_journal a sealed pack's
    // journals are not read, so a damaged one is told as well.
    std::function<void(const JournalInfo& info)> on_journal_info;
    std::function<void(uint64_t sequence, ByteView record)> on_journal;
    std::function<void(uint64_t offset_bytes, const std::string& why)> on_damage;
    // Comes before each read from the pack; may wait. A failure ends the scan with it.
    std::function<Status(uint64_t bytes)> before_read;
  };
  // `verify_payload` also decodes every chunk and checks its name (but for those that
  // have a base, of which the hash of the payload has to do), and reads what the
  // next mount would find: the file that has the pack's name now, read past the page cache.
  // A sealed one that became shorter is damaged.
  virtual Status Scan(uint32_t pack, bool verify_payload, const ScanSink& sink) = 0;
  // The journals of a pack in their order; reads only its table if it is sealed. For
  // whoever decides which packs hold journals that are needed.
  Result<std::vector<JournalInfo>> JournalsOf(uint32_t pack);
  virtual std::vector<uint32_t> Packs() const = 0;  // ascending

  // One for each of Packs(), in their order.
  virtual std::vector<PackInfo> Infos() const = 0;
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
