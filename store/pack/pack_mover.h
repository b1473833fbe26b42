// Copies chunks from one pack to the end of the current one as they are encoded.
//
// Chunks that lie close together are read as one extent, straight from the disk: what
// a collector reads nobody wants in the page cache. Header and payload are verified by
// their hashes; nothing is decoded.
//
// Threads: Move() may be called concurrently.
// Errors:  as PackStore::Move().
// Memory:  kReadBytes, and a pointer for each move.
// Units:   bytes.
#pragma once

#include <span>

#include "store/base/disk.h"
#include "store/chunk/fingerprint.h"
#include "store/pack/aligned_buffer.h"
#include "store/pack/pack_files.h"
#include "store/pack/pack_store.h"
#include "store/pack/pack_writer.h"

namespace varve {

class PackMover {
 public:
  // All references outlive the mover.
  PackMover(PackFiles& files, PackWriter& writer, const Fingerprinter& fingerprinter)
      : files_(files), writer_(writer), fingerprinter_(fingerprinter) {}

  Status Move(std::span<ChunkMove> moves);

 private:
  // The moves at the front of `moves` whose records lie in one extent.
  static std::span<ChunkMove* const> Neighbours(std::span<ChunkMove* const> moves);
  // Fills in each one's status. Fails when nothing can be appended any more.
  Status MoveExtent(std::span<ChunkMove* const> moves, const AlignedBuffer& buffer);
  // The payload of the chunk in `record`, which begins with its header.
  Result<ByteView> Verify(const ChunkMove& move, ByteView record) const;

  PackFiles& files_;
  PackWriter& writer_;
  const Fingerprinter& fingerprinter_;
};

}  // namespace varve
