// Reads chunks back: many at once, decoded and verified.
//
// Chunks that lie close together in a pack are read as one extent, straight from
// the disk into a lane's buffers. What is not in its file yet comes from the
// writer's memory.
//
// Threads: Read() may be called concurrently; at most kReadLanes calls proceed.
// Errors:  as PackStore::Read().
// Units:   bytes.
#pragma once

#include <memory>
#include <span>
#include <vector>

#include "store/base/mutex.h"
#include "store/chunk/fingerprint.h"
#include "store/pack/decode_pool.h"
#include "store/pack/pack_files.h"
#include "store/pack/pack_writer.h"
#include "store/pack/read_batch.h"

namespace varve {

class PackReader {
 public:
  struct Options {
    bool io_uring = true;
    unsigned decode_threads = 0;
  };

  // All references outlive the reader.
  PackReader(PackFiles& files, PackWriter& writer, const Fingerprinter& fingerprinter,
             const Options& options);

  Status Read(std::span<ChunkRead> reads, ReadFrom from) EXCLUDES(mutex_);

 private:
  // True when the read is finished: impossible, or served from the writer.
  bool ReadAtOnce(ChunkRead& read, Decoder& decoder);
  void ReadCached(ChunkRead& read, Decoder& decoder);
  // REQUIRES: `reads` are ordered by location.
  std::vector<ReadExtent> MakeExtents(std::span<ChunkRead* const> reads);
  void RunBatch(std::vector<ReadExtent> extents, ReadLane& lane) EXCLUDES(mutex_);
  std::unique_ptr<ReadLane> AcquireLane() EXCLUDES(mutex_);
  void ReleaseLane(std::unique_ptr<ReadLane> lane) EXCLUDES(mutex_);
  DecodePool& Pool() EXCLUDES(mutex_);

  PackFiles& files_;
  PackWriter& writer_;
  const Fingerprinter& fingerprinter_;
  const Options options_;

  Mutex mutex_;
  CondVar released_;
  size_t lanes_ GUARDED_BY(mutex_) = 0;
  std::vector<std::unique_ptr<ReadLane>> idle_ GUARDED_BY(mutex_);
  std::unique_ptr<DecodePool> pool_ GUARDED_BY(mutex_);
};

}  // namespace varve
