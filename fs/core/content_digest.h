// Digests one content: reads it through a window, cuts, takes the chunks in.
//
// Threads: a ContentDigester is used by one thread at a time; contents one after
//          the other, so that windows and encoders are allocated once.
// Memory:  the window, as much again for comparing, and the rows of one batch.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <vector>

#include "fs/core/content_intake.h"
#include "fs/core/content_ledger.h"
#include "fs/core/content_store.h"
#include "store/chunk/cutter.h"

namespace varve {

class ContentDigester {
 public:
  ContentDigester(Catalog& catalog, PackStore& packs, const Fingerprinter& fingerprinter,
                  InFlightChunks& in_flight);

  Result<Digested> Run(ContentSource& source, ContentId content,
                       const std::optional<DigestBase>& base);

 private:
  // One content that is being digested.
  struct Job {
    ContentSource& source;
    DigestLedger& ledger;
    std::unique_ptr<Cutter> cutter;
  };

  Status RunAll(Job& job, const std::optional<DigestBase>& base);
  Result<std::unique_ptr<Cutter>> Choose(Job& job);
  // Finds the tensors of the content; nothing if it has none.
  Result<std::unique_ptr<Cutter>> CutTensors(Job& job);
  Status Reuse(Job& job, RecipeCursor& recipe, ByteRange range);
  Status CutSpan(Job& job, ByteRange span);
  Status CutData(Job& job, ByteRange data);
  Status Fill(ContentSource& source, uint64_t offset, MutableBytes out);

  Catalog& catalog_;
  PackStore& packs_;
  const Fingerprinter& fingerprinter_;
  InFlightChunks& in_flight_;
  ChunkIntake intake_;

  std::unique_ptr<uint8_t[]> window_;
  std::vector<CutChunk> chunks_;
};

}  // namespace varve
