// Cuts a byte stream into chunks.
//
// A Cutter sees a content's bytes in order through a window and says where the
// next chunk ends. Which cutter suits a content is decided once, by its size and
// first bytes (ChooseCutter), or by where its tensors lie (MakeRegionCutter).
//
// Threads: a Cutter belongs to one thread.
// Units:   bytes; every chunk is 1 to kChunkBytesMax long.
#pragma once

#include <memory>
#include <vector>

#include "store/base/bytes.h"
#include "store/chunk/chunk.h"
#include "store/codec/elements.h"

namespace varve {

class Cutter {
 public:
  virtual ~Cutter() = default;
  // How many bytes from the start of `window` the next chunk takes.
  // REQUIRES: window is not empty; it holds kChunkBytesMax bytes, or all that is left.
  // `offset` is where in the content the window starts.
  virtual uint32_t Next(uint64_t offset, ByteView window) = 0;
  // What the bytes of a chunk that starts there are.
  virtual ElementType ElementsAt(uint64_t /*offset*/) { return ElementType::kBytes; }
};

// Bytes of a content that are cut by themselves: a tensor.
struct CutRegion {
  uint64_t begin_bytes = 0;
  uint64_t end_bytes = 0;
  ElementType elements = ElementType::kBytes;
};

// The whole content in pieces of `piece_bytes`, counted from offset 0.
std::unique_ptr<Cutter> MakeFixedCutter(uint32_t piece_bytes);
// Each region in pieces of 512 KiB, of 4-byte elements 1 MiB, counted from where it begins: so
// equal tensors give equal chunks wherever they lie, and those of a tensor in another float type as
// many elements; what lies between as `between` cuts it, but whole up to
// 128 KiB. REQUIRES: regions are ascending, disjoint and not empty.
std::unique_ptr<Cutter> MakeRegionCutter(std::vector<CutRegion> regions,
                                         std::unique_ptr<Cutter> between);
// Content-defined boundaries: FastCDC (Xia et al., USENIX ATC 2016), normalised
// chunking level 2.
std::unique_ptr<Cutter> MakeContentCutter();
// Small contents whole, large binary ones fixed at 512 KiB, others content-defined.
std::unique_ptr<Cutter> ChooseCutter(uint64_t content_bytes, ByteView first_bytes);

}  // namespace varve
