// Stores a content for which the disk has not enough room as a whole, piece by piece.
//
// Its first bytes become a stored content of their own, the *piece*. In one batch the
// content becomes an overlay of that: its staging file holds what follows. When this is
// committed, with its journal, the bytes before are punched out of the staging file, and
// give the room for the next piece, which goes on from this one. What is left of an
// overlay at last is digested as any other. Pieces that no overlay lies upon any more are the
// collector's.
//
//   staging file flushed -> piece appended, packs flushed -> piece "stored" and content an
//   overlay, one batch -> committed -> punched
//
// A death or a power cut leaves the content whole at each of these steps: as it was, or as
// an overlay, durable both times. So nothing ever falls back to a piece, and no name shows one.
// It becomes an overlay only while nobody, in any process, has the staging file open
// or mapped; from then on nobody gets to see it but through the overlay.
//
// Threads: belongs to one thread, that of a digest. REQUIRES: who wants to write to the content
//          waits until Run() has returned (DigestQueue::CancelLocked).
// Errors:  kBusy: somebody uses the content, or it was cancelled; kNoSpace, kIo, kReadOnly as
//          the packs and the catalog say. What was stored until then stays so.
// Units:   bytes.
#pragma once

#include <functional>
#include <memory>

#include "fs/core/live_files.h"

namespace varve {

class PieceStore {
 public:
  struct Dependencies {
    Tree& tree;
    StageArea& stages;
    ContentStore& contents;
    LiveFiles& files;
    const std::function<Status()>& commit;  // what was applied is durable then
  };
  struct Options {
    uint64_t piece_bytes = 0;  // of what is in the staging file
    std::function<uint64_t()> room_bytes;
    std::function<bool()> cancelled;
    // Where bytes are moved: background_thread.h.
    std::function<void(const std::function<void()>&)> run;
  };
  explicit PieceStore(const Dependencies& dependencies) : d_(dependencies) {}

  // Until the staging file holds less than a piece; kBusy after a number of them, so that a
  // collection may come in between. Tells how many were stored.
  Status Run(ContentId content, const Options& options, uint64_t* pieces);

 private:
  // A content as it is at the moment, and the piece of it that comes next.
  struct Next;
  Status Open(ContentId content, const Options& options, Next* next);
  Status Digest(const Options& options, Next* next);
  // The content becomes an overlay of the piece.
  Status TurnLocked(Next* next);
  Status Punch(Next* next);
  Status MakeDurable(ContentId content);

  Dependencies d_;
};

}  // namespace varve
