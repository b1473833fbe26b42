#include "fs/core/content_store.h"

#include <atomic>
#include <unordered_map>
#include <utility>

#include "fs/core/content_cache.h"
#include "fs/core/content_digest.h"
#include "fs/core/content_inflight.h"
#include "fs/core/content_loader.h"
#include "fs/core/content_reader.h"
#include "fs/core/content_recipe.h"
#include "fs/core/content_workers.h"
#include "fs/core/tensor_rows.h"

namespace varve {
namespace {

// Kept for the next digest; each holds a window of a few MiB.
constexpr size_t kIdleDigestersMax = 2;
constexpr uint64_t kIdleBufferBytesMax = 8u << 20;
constexpr size_t kAheadTasksMax = 256;

class ContentStoreImpl final : public ContentStore {
 public:
  ContentStoreImpl(Catalog& catalog, PackStore& packs, const Fingerprinter& fingerprinter,
                   const ContentStoreOptions& options)
      : catalog_(catalog),
        packs_(packs),
        fingerprinter_(fingerprinter),
        cache_(BufferPool::Make(kIdleBufferBytesMax), options.cache_bytes_max),
        loader_(catalog, packs, cache_),
        workers_(options.threads, kAheadTasksMax) {}

  Result<Digested> Digest(ContentSource& source, ContentId content,
                          const std::optional<DigestBase>& base) override {
    std::unique_ptr<ContentDigester> digester = TakeDigester();
    Result<Digested> digested = digester->Run(source, content, base);
    KeepDigester(std::move(digester));
    if (digested.ok() && !source.is_piece()) Count(source.size_bytes(), *digested);
    if (digested.ok() && source.is_piece()) stored_bytes_ += digested->stored_bytes;
    return digested;
  }

  Status Sync() override { return packs_.Sync(); }

  void Forget(const std::vector<ChunkId>& new_chunks) override {
    in_flight_.Release(new_chunks, catalog_);
  }

  bool UsesPack(uint32_t pack) override { return in_flight_.UsesPack(pack); }

  Result<std::shared_ptr<ContentReader>> OpenReader(ContentId content, uint64_t size_bytes,
                                                    std::string path_for_messages) override {
    StoredReader::Identity identity{content, size_bytes, std::move(path_for_messages)};
    {
      MutexLock lock(mutex_);
      ++readers_[content];
    }
    return std::shared_ptr<ContentReader>(new StoredReader(machine_, std::move(identity)),
                                          [this, content](StoredReader* reader) {
                                            delete reader;
                                            CountOut(content);
                                          });
  }

  bool IsRead(ContentId content) const override {
    MutexLock lock(mutex_);
    return readers_.contains(content);
  }

  void BeginCollection() override { in_flight_.BeginCollection(); }
  void EndCollection() override { in_flight_.EndCollection(); }
  Result<std::vector<ChunkId>> RemoveUnused(const std::vector<ChunkId>& chunks) override {
    return in_flight_.RemoveUnused(chunks, catalog_);
  }

  Status AppendRemoval(ContentId content, Batch* batch) override {
    RETURN_IF_ERROR(AppendTensorMapRemoval(catalog_, content, batch));
    const key::Range rows = key::AllRecipe(content);
    return catalog_.Scan(rows.begin, rows.end, [&](std::string_view row, std::string_view) {
      batch->Delete(std::string(row));
      return true;
    });
  }

  Counters counters() const override {
    Counters out;
    out.digested_bytes = digested_bytes_;
    out.new_bytes = new_bytes_;
    out.stored_bytes = stored_bytes_;
    out.shared_bytes = shared_bytes_;
    out.read_bytes = machine_.read_bytes;
    out.cache_hits = machine_.cache_hits;
    out.cache_misses = machine_.cache_misses;
    out.read_ahead_bytes = machine_.read_ahead_bytes;
    return out;
  }

 private:
  std::unique_ptr<ContentDigester> TakeDigester() {
    {
      MutexLock lock(mutex_);
      if (!idle_digesters_.empty()) {
        std::unique_ptr<ContentDigester> digester = std::move(idle_digesters_.back());
        idle_digesters_.pop_back();
        return digester;
      }
    }
    return std::make_unique<ContentDigester>(catalog_, packs_, fingerprinter_, in_flight_);
  }

  void KeepDigester(std::unique_ptr<ContentDigester> digester) {
    MutexLock lock(mutex_);
    if (idle_digesters_.size() < kIdleDigestersMax) idle_digesters_.push_back(std::move(digester));
  }

  void CountOut(ContentId content) {
    MutexLock lock(mutex_);
    const auto found = readers_.find(content);
    if (--found->second == 0) readers_.erase(found);
  }

  void Count(uint64_t size_bytes, const Digested& digested) {
    digested_bytes_ += size_bytes;
    new_bytes_ += digested.new_bytes;
    stored_bytes_ += digested.stored_bytes;
    shared_bytes_ += digested.shared_bytes;
  }

  // Dependencies.
  Catalog& catalog_;
  PackStore& packs_;
  const Fingerprinter& fingerprinter_;

  // Each locks itself.
  InFlightChunks in_flight_;
  ChunkCache cache_;
  ChunkLoader loader_;
  std::atomic<uint64_t> digested_bytes_{0};
  std::atomic<uint64_t> new_bytes_{0};
  std::atomic<uint64_t> stored_bytes_{0};
  std::atomic<uint64_t> shared_bytes_{0};

  mutable Mutex mutex_;
  std::vector<std::unique_ptr<ContentDigester>> idle_digesters_ GUARDED_BY(mutex_);
  std::unordered_map<ContentId, unsigned> readers_ GUARDED_BY(mutex_);

  // Last, so that the threads end before what they work on does.
  ReadMachine machine_{catalog_, cache_, loader_, workers_};
  ContentWorkers workers_;
};

}  // namespace

std::unique_ptr<ContentStore> MakeContentStore(Catalog& catalog, PackStore& packs,
                                               const Fingerprinter& fingerprinter,
                                               const ContentStoreOptions& options) {
  return std::make_unique<ContentStoreImpl>(catalog, packs, fingerprinter, options);
}

}  // namespace varve
