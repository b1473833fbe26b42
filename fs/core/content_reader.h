// Reads one stored content: the only ContentReader there is.
//
// Threads: all methods may be called concurrently.
#pragma once

#include <atomic>
#include <list>
#include <memory>
#include <string>
#include <vector>

#include "fs/core/content_cache.h"
#include "fs/core/content_loader.h"
#include "fs/core/content_recipe.h"
#include "fs/core/content_store.h"
#include "fs/core/content_streams.h"
#include "fs/core/content_workers.h"

namespace varve {

// What the readers of one store share.
struct ReadMachine {
  Catalog& catalog;
  ChunkCache& cache;
  ChunkLoader& loader;
  ContentWorkers& workers;

  std::atomic<uint64_t> read_bytes{0};
  std::atomic<uint64_t> cache_hits{0};
  std::atomic<uint64_t> cache_misses{0};
  std::atomic<uint64_t> read_ahead_bytes{0};
};

class StoredReader final : public ContentReader, public std::enable_shared_from_this<StoredReader> {
 public:
  struct Identity {
    ContentId content = 0;
    uint64_t size_bytes = 0;
    std::string path_for_messages;
  };
  StoredReader(ReadMachine& machine, Identity identity)
      : machine_(machine), identity_(std::move(identity)) {}

  Result<ReadReply> Read(uint64_t offset, size_t size) override;
  uint64_t size_bytes() const override { return identity_.size_bytes; }
  Result<uint64_t> Seek(uint64_t offset, int whence) override;

 private:
  using SegmentPtr = std::shared_ptr<const RecipeSegment>;
  // A piece that a request wants, and which of its bytes.
  struct Wanted {
    PlacedPiece placed;
    ByteRange range;  // of the content
    ChunkPin chunk;   // null: a hole
  };

  Result<ReadReply> ReadRange(ByteRange range);
  Result<SegmentPtr> SegmentAt(uint64_t offset);
  Result<std::vector<Wanted>> WantedOf(ByteRange range);
  void LoadWanted(std::vector<Wanted>& wanted);
  // Waits for what others load, then lists the bytes.
  Result<ReadReply> Assemble(std::vector<Wanted> wanted);
  void StartAhead(ByteRange read);
  void LoadAhead(ByteRange range) noexcept;
  // The end of the pieces of one kind that begin with the one at `offset`.
  Result<uint64_t> EndOfRun(uint64_t offset, bool hole);
  Status Report(uint64_t offset, const Status& status);

  // Dependencies.
  ReadMachine& machine_;

  // Constant after construction.
  const Identity identity_;

  std::atomic<int> reports_{0};

  Mutex mutex_;
  StreamDetector streams_ GUARDED_BY(mutex_);
  std::list<SegmentPtr> segments_ GUARDED_BY(mutex_);  // front: used last
  // Known to be without a hole: whoever asks for holes asks many times.
  ByteRange data_run_ GUARDED_BY(mutex_);
};

}  // namespace varve
