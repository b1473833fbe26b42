// One Read() on its way: extents of packs are read into the buffers of a lane,
// several at once, and decoded by the caller and the pool while the next are read.
//
// Threads: Run() by one thread; the pool's threads help by themselves.
// Errors:  go into each ChunkRead's status.
// Units:   bytes.
#pragma once

#include <deque>
#include <memory>
#include <vector>

#include "store/base/disk.h"
#include "store/base/mutex.h"
#include "store/chunk/fingerprint.h"
#include "store/codec/codec.h"
#include "store/pack/aligned_buffer.h"
#include "store/pack/decode_pool.h"
#include "store/pack/pack_store.h"
#include "store/uring/ring.h"

namespace varve {

// Whole blocks of one pack, and the chunks that lie in them.
struct ReadExtent {
  std::shared_ptr<File> file;
  uint64_t start = 0;
  uint64_t end = 0;
  std::vector<ChunkRead*> chunks;
};

// What a batch needs and the next one can use again.
struct ReadLane {
  std::unique_ptr<Ring> ring;  // may be null
  std::vector<AlignedBuffer> buffers;
  Decoder decoder;
};

// Decodes the chunk's payload into its `out` and verifies it.
Status DecodeChunk(const ChunkRead& read, ByteView payload, const Fingerprinter& fingerprinter,
                   Decoder& decoder);

class ReadBatch : public std::enable_shared_from_this<ReadBatch> {
 public:
  // `pool` may be null. All outlive Run().
  ReadBatch(std::vector<ReadExtent> extents, ReadLane& lane, DecodePool* pool,
            const Fingerprinter& fingerprinter);

  // Returns when every chunk has its status.
  void Run() EXCLUDES(mutex_);

 private:
  // A buffer of the lane, and what was read into it.
  struct Slot {
    size_t buffer = 0;
    ReadExtent* extent = nullptr;
    Result<size_t> got = size_t{0};
  };

  // True when some read was started or performed.
  bool StartReads() EXCLUDES(mutex_);
  void StartRead(size_t buffer, ReadExtent* extent) EXCLUDES(mutex_);
  void AwaitRead() EXCLUDES(mutex_);
  void Arrived(Slot slot) EXCLUDES(mutex_);
  // False when nothing has arrived that nobody decodes.
  bool DecodeOne(Decoder& decoder) EXCLUDES(mutex_);
  void Decode(const Slot& slot, Decoder& decoder);
  MutableBytes Memory(size_t buffer, const ReadExtent& extent) const;

  std::vector<ReadExtent> extents_;
  ReadLane& lane_;
  DecodePool* const pool_;
  const Fingerprinter& fingerprinter_;

  // Of the thread in Run().
  size_t next_extent_ = 0;
  std::vector<ReadExtent*> reading_;  // by buffer

  Mutex mutex_;
  CondVar decoded_;
  std::vector<size_t> free_ GUARDED_BY(mutex_);
  std::deque<Slot> arrived_ GUARDED_BY(mutex_);
  size_t extents_left_ GUARDED_BY(mutex_);
};

}  // namespace varve
