// Contents: byte sequences made of chunks. Digests new ones, reads stored ones.
//
// A content's recipe lists its pieces (chunks and holes) in order, in segments
// of the index (key::Recipe). The content store cuts, names, compares, encodes
// and appends; it knows no file name, no inode and no version.
//
// Order, and every crash test checks it: Digest() has appended all new chunks ->
// Sync() -> the caller applies the batch to the catalog -> Forget(). Until then
// the chunks are known to this object only, which lets contents that are digested
// at the same time share them. A chunk is shared only after comparing its bytes.
//
// Threads:  all methods may be called concurrently. Digest() runs on its caller's
//           thread. Reading ahead uses a bounded pool of threads.
// Memory:   bounded: about 24 MiB per running Digest(), one cache for all readers.
// Errors:   kCorrupt and kIo of a read name the content, and are logged with the
//           path; wrong bytes are never returned. A failed or cancelled Digest()
//           leaves nothing but chunks that the next one finds.
// Lifetime: readers and replies' bytes are let go of before the store is; what it
//           is made from outlives it.
// Format:   docs/FORMAT.md, "Recipes".
#pragma once

#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "fs/core/keys.h"
#include "fs/core/node_ops.h"
#include "index/catalog.h"
#include "store/base/result.h"
#include "store/pack/pack_store.h"

namespace varve {

struct ByteRange {
  uint64_t begin = 0;
  uint64_t end = 0;
};

// Where a content's bytes come from while it is digested.
class ContentSource {
 public:
  virtual ~ContentSource() = default;
  virtual uint64_t size_bytes() const = 0;  // does not change
  // Whether it is the beginning of what is digested as a whole later, and counts as written
  // only then.
  virtual bool is_piece() const { return false; }
  // The first range of data at or after `offset`; begin == end == size when only
  // a hole is left. What lies before it is zeros, and becomes a hole of the content.
  virtual Result<ByteRange> NextData(uint64_t offset) = 0;
  // All of `out`; less means that the content changed, and ends the digest (kBusy).
  virtual Result<size_t> ReadAt(uint64_t offset, MutableBytes out) = 0;
  // Asked between chunks; true stops the digest with kBusy.
  virtual bool Cancelled() = 0;
};

// A content that is another one with some ranges changed: what did not change
// keeps its pieces, and costs nothing. The base is stored, and stays so meanwhile.
struct DigestBase {
  ContentId content = 0;
  uint64_t valid_bytes = 0;        // of the base that shows through, from offset 0;
                                   // at most its size
  std::vector<ByteRange> changed;  // ascending, disjoint
};

struct Digested {
  Batch batch;                      // recipe segments and new chunk locations
  std::vector<ChunkId> new_chunks;  // to Forget() once the batch is applied
  uint64_t new_bytes = 0;           // of chunks that were not there, before encoding
  uint64_t stored_bytes = 0;        // the same, after encoding
  uint64_t shared_bytes = 0;        // of chunks that were there
  uint64_t hole_bytes = 0;
};

class ContentReader {
 public:
  virtual ~ContentReader() = default;
  // Up to `size` bytes at `offset`, short only at the end of the content. Finds
  // several sequential streams by itself and reads ahead for each.
  virtual Result<ReadReply> Read(uint64_t offset, size_t size) = 0;
  Status ReadInto(uint64_t offset, MutableBytes out);  // all of it, zeros beyond the end
  virtual uint64_t size_bytes() const = 0;
  // SEEK_DATA / SEEK_HOLE over the recipe; fails with ENXIO as lseek(2) does.
  virtual Result<uint64_t> Seek(uint64_t offset, int whence) = 0;
};

struct ContentStoreOptions {
  unsigned threads = 2;                  // that read ahead; 0: nothing does
  uint64_t cache_bytes_max = 96u << 20;  // decoded chunks, all readers together
};

class ContentStore {
 public:
  virtual ~ContentStore() = default;

  // Of a content of hundreds of GiB the first rows are synced and applied already
  // when it returns; they mean nothing before the content's record says "stored".
  // What an earlier attempt has left is removed. REQUIRES: nobody reads `content`.
  // Fails with kBusy when it was cancelled; kNoSpace, kIo, kReadOnly as the packs say.
  virtual Result<Digested> Digest(ContentSource& source, ContentId content,
                                  const std::optional<DigestBase>& base) = 0;
  virtual Status Sync() = 0;
  // The batch that holds these chunks is applied, or will never be. Once for each
  // Digest() that succeeded.
  virtual void Forget(const std::vector<ChunkId>& new_chunks) = 0;
  // Whether a digest may yet name chunks that it has in this pack; false stays false.
  // Until then a collector neither moves chunks out of the pack nor removes it.
  // REQUIRES: the pack is sealed.
  virtual bool UsesPack(uint32_t pack) = 0;

  // `path_for_messages` is what the log calls it when its bytes are damaged.
  virtual Result<std::shared_ptr<ContentReader>> OpenReader(ContentId content, uint64_t size_bytes,
                                                            std::string path_for_messages) = 0;
  // Whether a reader of it is open.
  virtual bool IsRead(ContentId content) const = 0;

  // Between these two the chunks that digests look for or add are remembered, and
  // RemoveUnused leaves them alone. A digest that runs already when it begins has to end
  // before chunks are judged.
  virtual void BeginCollection() = 0;
  virtual void EndCollection() = 0;
  // Deletes the rows of chunks that no recipe names. Returns those that went.
  virtual Result<std::vector<ChunkId>> RemoveUnused(const std::vector<ChunkId>& chunks) = 0;
  // Deletes a content's recipe (its chunks are the collector's business).
  virtual Status AppendRemoval(ContentId content, Batch* batch) = 0;

  struct Counters {
    uint64_t digested_bytes = 0, new_bytes = 0, stored_bytes = 0, shared_bytes = 0;
    uint64_t read_bytes = 0, cache_hits = 0, cache_misses = 0, read_ahead_bytes = 0;
  };
  virtual Counters counters() const = 0;
};

// All three outlive it.
std::unique_ptr<ContentStore> MakeContentStore(Catalog& catalog, PackStore& packs,
                                               const Fingerprinter& fingerprinter,
                                               const ContentStoreOptions& options);

}  // namespace varve
