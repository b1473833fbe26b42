// A ContentStore over a MapCatalog and MemoryPacks, and contents made for it.
//
// Threads: belongs to one thread, but for store().
#pragma once

#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "fs/core/content_recipe.h"
#include "fs/core/content_store.h"
#include "tests/support/map_catalog.h"
#include "tests/support/memory_packs.h"
#include "tests/support/test_source.h"

namespace varve::testing {

class ContentFixture {
 public:
  explicit ContentFixture(const ContentStoreOptions& options = {});

  // Digests, syncs, applies and forgets, as the caller of a ContentStore does.
  Result<Digested> Store(ContentSource& source, ContentId content,
                         const std::optional<DigestBase>& base = std::nullopt);
  Result<Digested> Store(const std::string& bytes, ContentId content);
  Status Commit(const Digested& digested);

  // All of a content, through a new reader.
  Result<std::string> ReadAll(ContentId content, uint64_t size);
  std::shared_ptr<ContentReader> Open(ContentId content, uint64_t size);
  std::vector<Piece> Pieces(ContentId content);
  std::optional<ChunkLocation> Locate(const ChunkId& id);

  MapCatalog& catalog() { return catalog_; }
  MemoryPacks& packs() { return packs_; }
  const Fingerprinter& fingerprinter() const { return fingerprinter_; }
  ContentStore& store() { return *store_; }

 private:
  const Fingerprinter fingerprinter_{std::string(Fingerprinter::kSecretBytes, 's')};
  MapCatalog catalog_;
  MemoryPacks packs_{fingerprinter_};
  std::unique_ptr<ContentStore> store_;
};

std::string Flat(const ReadReply& reply);

}  // namespace varve::testing
