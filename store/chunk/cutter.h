// Cuts a byte stream into chunks.
//
// A Cutter sees a content's bytes in order through a window and says where the
// next chunk ends. Which cutter suits a content is decided once, by its size and
// first bytes (ChooseCutter); a tensor-aware cutter plugs in at the same place.
//
// Threads: a Cutter belongs to one thread.
// Units:   bytes; every chunk is 1 to kChunkBytesMax long.
#pragma once

#include <memory>

#include "store/base/bytes.h"
#include "store/chunk/chunk.h"

namespace varve {

class Cutter {
 public:
  virtual ~Cutter() = default;
  // How many bytes from the start of `window` the next chunk takes.
  // REQUIRES: window is not empty; it holds kChunkBytesMax bytes, or all that is left.
  // `offset` is where in the content the window starts.
  virtual uint32_t Next(uint64_t offset, ByteView window) = 0;
};

// The whole content in pieces of `piece_bytes`, counted from offset 0.
std::unique_ptr<Cutter> MakeFixedCutter(uint32_t piece_bytes);
// Content-defined boundaries: FastCDC (Xia et al., USENIX ATC 2016), normalised
// chunking level 2.
std::unique_ptr<Cutter> MakeContentCutter();
// Small contents whole, large binary ones fixed at 512 KiB, others content-defined.
std::unique_ptr<Cutter> ChooseCutter(uint64_t content_bytes, ByteView first_bytes);

}  // namespace varve
