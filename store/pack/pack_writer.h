// Appends records to the newest pack and makes them durable.
//
// An append is copied into an aligned buffer; whole blocks of it go to disk in
// large writes while the next appends fill the buffer on. Flushing pads the last
// block with zeros, so each block is written exactly once: nothing durable is
// ever overwritten, and no write overlaps another one. A record lies in one
// buffer entirely, which is kept until the record's last block is written; until
// then the record is read from there. A full pack is sealed by the flush that
// made its records durable.
//
// Space is allocated before a record is accepted, so kNoSpace comes from the
// append that did not fit, and changed nothing. Where a disk refuses a write for
// lack of space all the same, the write is kept and repeated by the next append
// or flush.
//
// With the reserve (pack_reserve.h) there is one pack that the disk's fullness does not
// stop: while it is the current one, content is refused, and all else goes to it, so that
// journals stay in the order of the packs.
//
// Threads: all methods may be called concurrently. Lock order: append_mutex_
//          before mutex_. No disk I/O happens under mutex_.
// Errors:  as PackStore.
// Units:   bytes.
#pragma once

#include <atomic>
#include <deque>
#include <map>
#include <memory>
#include <set>
#include <string>
#include <vector>

#include "store/base/disk.h"
#include "store/base/mutex.h"
#include "store/codec/codec.h"
#include "store/pack/aligned_buffer.h"
#include "store/pack/pack_format.h"
#include "store/pack/pack_reserve.h"
#include "store/pack/pack_store.h"
#include "store/pack/write_queue.h"

namespace varve {

class PackWriter {
 public:
  struct Options {
    uint32_t first_pack = 1;
    uint32_t pack_bytes_target = 0;
  };

  // `ring` may be null. `disk` and `fingerprinter` outlive the writer.
  PackWriter(Disk& disk, const std::string& path, const Fingerprinter& fingerprinter,
             const Options& options, std::unique_ptr<Ring> ring);
  // Flushes and seals what can be.
  ~PackWriter();
  PackWriter(const PackWriter&) = delete;
  PackWriter& operator=(const PackWriter&) = delete;

  Result<ChunkLocation> Append(RecordType type, const RecordName& name, const EncodedChunk& chunk,
                               RoomFor room) EXCLUDES(append_mutex_, mutex_);
  Status Sync() EXCLUDES(append_mutex_, mutex_);
  // Sync(), and every pack that has a record by now is sealed.
  Status SealPacks() EXCLUDES(append_mutex_, mutex_);

  // Wants so many bytes in reserve from now on.
  void KeepReserve(uint64_t bytes) EXCLUDES(append_mutex_, mutex_);
  // Fills it up if there is room.
  void RefillReserve() EXCLUDES(append_mutex_, mutex_);
  bool DropReserve() EXCLUDES(append_mutex_);
  uint64_t reserve_bytes(RoomFor room) EXCLUDES(append_mutex_);

  // Copies the payload at `location` if it is not in its file yet; else false.
  bool CopyUnwritten(const ChunkLocation& location, MutableBytes out) EXCLUDES(mutex_);
  // The pack is not sealed yet: its file lacks what was not flushed.
  bool IsOpen(uint32_t pack) EXCLUDES(mutex_);

  // All packs that this writer made and that were not removed, ascending.
  std::vector<PackInfo> Infos() const EXCLUDES(mutex_);

  // Removes the file of a pack, whoever made it. Only after SyncNames() is it gone for
  // good. Fails with kBusy while the pack is open.
  Status Remove(uint32_t pack) EXCLUDES(mutex_);
  // A failure fences: the name of a pack that was just made may be what it lost.
  Status SyncNames() EXCLUDES(mutex_);

 private:
  // Memory for [base, base + fill) of a pack; all before base + started was handed
  // to the queue. Guarded by mutex_, but what lies beyond `fill` by append_mutex_.
  struct Buffer {
    AlignedBuffer memory;
    int registered = -1;
    bool large = false;  // for one long journal only
    uint64_t base = 0;
    size_t fill = 0;
    size_t started = 0;
  };
  struct Pack {
    // Constant.
    uint32_t number = 0;
    std::shared_ptr<File> file;
    // Guarded by append_mutex_; constant once the pack is full.
    bool full = false;
    uint64_t end = 0;  // where the next record starts
    uint64_t allocated = 0;
    bool reserved = false;  // it was the reserve
    uint32_t records = 0;
    std::string table;
    // Guarded by mutex_.
    std::deque<std::unique_ptr<Buffer>> buffers;  // oldest first; the last one is filled
    std::set<uint64_t> unfinished;                // offsets of writes in flight or refused
    // Changed by the one flush that runs.
    std::atomic<uint64_t> durable = 0;
    bool named = false;  // the directory entry is durable
  };
  // A write between Start() and the end of its last try.
  struct Pending {
    std::shared_ptr<Pack> pack;
    WriteQueue::Write write;
  };

  // Flushes when too many full packs await their seal.
  Status BoundOpenPacks() EXCLUDES(append_mutex_, mutex_);
  // Makes the current pack ready to take `record_bytes` more.
  Status MakeRoom(uint64_t record_bytes, RoomFor room) REQUIRES(append_mutex_) EXCLUDES(mutex_);
  Status TakeFreeRoom(uint64_t record_bytes) REQUIRES(append_mutex_) EXCLUDES(mutex_);
  Status TakeReserve(uint64_t record_bytes, RoomFor room) REQUIRES(append_mutex_) EXCLUDES(mutex_);
  // What is allocated for the current pack, if it was the reserve, behind all records.
  uint64_t ReserveLeft() REQUIRES(append_mutex_);
  // Of that and of the reserve, what may be taken.
  uint64_t ReserveFor(RoomFor room) REQUIRES(append_mutex_);
  // The reserve becomes the current pack.
  Status EnterReserve() REQUIRES(append_mutex_) EXCLUDES(mutex_);
  // Ends that once there is another reserve.
  void LeaveReserve() REQUIRES(append_mutex_) EXCLUDES(mutex_);
  Status OpenPack() REQUIRES(append_mutex_) EXCLUDES(mutex_);
  Status StartPack(Result<std::unique_ptr<File>> file) REQUIRES(append_mutex_) EXCLUDES(mutex_);
  void MakeBuffers(bool registered) REQUIRES(append_mutex_) EXCLUDES(mutex_);
  void AppendToBuffer(const std::shared_ptr<Pack>& pack, ByteView header, ByteView payload)
      REQUIRES(append_mutex_) EXCLUDES(mutex_);
  Status Allocate(uint64_t end) REQUIRES(append_mutex_) EXCLUDES(mutex_);
  Status NextBuffer(size_t size) REQUIRES(append_mutex_) EXCLUDES(mutex_);
  Result<std::unique_ptr<Buffer>> AcquireBuffer(size_t size) REQUIRES(append_mutex_)
      EXCLUDES(mutex_);
  // Hands the current pack to the next flush; removes one without a record.
  void CloseCurrent() REQUIRES(append_mutex_) EXCLUDES(mutex_);
  // Where a record that is appended now ends.
  uint64_t EndWith(uint64_t record_bytes) REQUIRES(append_mutex_);

  // Starts writing the whole blocks of the newest buffer if there are `bytes_min`.
  void StartBlocks(const std::shared_ptr<Pack>& pack, size_t bytes_min) REQUIRES(append_mutex_)
      EXCLUDES(mutex_);
  // Pads to a whole block and starts writing all.
  void StartAll(const std::shared_ptr<Pack>& pack) REQUIRES(append_mutex_) EXCLUDES(mutex_);
  void Start(Pending pending) EXCLUDES(mutex_);
  // Starts the writes that were refused for lack of space once more.
  void Restart() EXCLUDES(mutex_);
  void Finish(const WriteQueue::Finished& finished) REQUIRES(mutex_);
  // Waits until some write has finished. REQUIRES: one is in flight.
  void AwaitWrite() REQUIRES(mutex_);
  // Takes back the buffers whose records are in the file.
  void Retire(Pack& pack) REQUIRES(mutex_);
  uint64_t WrittenBytes(const Pack& pack) REQUIRES(mutex_);

  // Until so many records are durable, and the packs up to `sealed_pack` are sealed.
  Status FlushUntil(uint64_t records, uint32_t sealed_pack) REQUIRES(mutex_)
      EXCLUDES(append_mutex_);
  Status Flush() EXCLUDES(append_mutex_, mutex_);
  Status AwaitWritten(const Pack& pack, uint64_t end) EXCLUDES(mutex_);
  Status MakeDurable(Pack& pack, uint64_t end) EXCLUDES(mutex_);
  void Seal(Pack& pack) EXCLUDES(mutex_);
  // From now on everything fails. The first to be told gets kIo, others kReadOnly.
  Status Fence(const Status& why) EXCLUDES(mutex_);
  Status Fenced() EXCLUDES(mutex_);
  Status FencedLocked() REQUIRES(mutex_);

  // Dependencies.
  Disk& disk_;
  const std::string path_;
  const Fingerprinter& fingerprinter_;
  WriteQueue queue_;

  // Constant after construction.
  const uint32_t pack_bytes_target_;

  // Held by whoever appends, and by a flush while it decides what it flushes.
  Mutex append_mutex_;
  std::shared_ptr<Pack> current_ GUARDED_BY(append_mutex_);
  uint32_t next_pack_ GUARDED_BY(append_mutex_);
  PackReserve reserve_ GUARDED_BY(append_mutex_);
  uint64_t reserve_wanted_ GUARDED_BY(append_mutex_) = 0;
  bool can_allocate_ GUARDED_BY(append_mutex_) = true;
  bool buffers_made_ GUARDED_BY(append_mutex_) = false;

  mutable Mutex mutex_;
  CondVar progress_;  // a write finished, a flush ended, or the writer was fenced
  // Full or current, by number.
  std::map<uint32_t, std::shared_ptr<Pack>> open_ GUARDED_BY(mutex_);
  std::map<uint64_t, Pending> in_flight_ GUARDED_BY(mutex_);
  std::vector<Pending> refused_ GUARDED_BY(mutex_);
  std::vector<std::unique_ptr<Buffer>> free_ GUARDED_BY(mutex_);
  size_t large_buffers_ GUARDED_BY(mutex_) = 0;
  uint64_t next_tag_ GUARDED_BY(mutex_) = 1;
  int in_ring_ GUARDED_BY(mutex_) = 0;  // of in_flight_, what Await() will return
  bool awaiting_ GUARDED_BY(mutex_) = false;
  bool flushing_ GUARDED_BY(mutex_) = false;
  uint64_t appended_ GUARDED_BY(mutex_) = 0;              // records
  uint64_t durable_ GUARDED_BY(mutex_) = 0;               // records
  std::map<uint32_t, uint64_t> made_ GUARDED_BY(mutex_);  // packs and their bytes
  Status fence_ GUARDED_BY(mutex_);                       // what fenced the writer, or ok
  bool fence_told_ GUARDED_BY(mutex_) = false;
};

}  // namespace varve
