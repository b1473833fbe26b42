// The encoding kDifference: floats as steps from those of another chunk, their base.
//
// Where most elements changed, one class for each (difference_steps.h), Huffman coded;
// where few did, the gaps between those and their classes. The tails are not coded.
//
// Threads: a coder belongs to one thread.
// Errors:  kCorrupt when the bytes are not what an encoder wrote for a chunk and a base of
//          these sizes. Which base it must be the payload says; whoever decodes sees to it.
// Format:  docs/format/pack.md, "Differences".
#pragma once

#include <optional>
#include <vector>

#include "store/base/bytes.h"
#include "store/base/result.h"
#include "store/chunk/chunk.h"
#include "store/codec/difference_steps.h"
#include "store/codec/elements.h"
#include "store/codec/streams.h"

namespace varve {

// The base of a payload that HasBase(encoding), from its first kBaseBytes bytes.
inline constexpr size_t kBaseBytes = sizeof(ChunkId::bytes);
Result<ChunkId> BaseOf(ByteView payload);

class DifferenceEncoder {
 public:
  // The payload, valid until the next call; nothing when the elements have no steps, or a sample
  // says that it would have more than `bytes_max` bytes, or it has.
  // REQUIRES: `base` is as long as `raw`.
  std::optional<ByteView> Encode(ByteView raw, ByteView base, const ChunkId& base_id,
                                 ElementType elements, size_t bytes_max, StreamEncoder& streams);

 private:
  StepClass Choose(ByteView raw, ByteView base, ElementType elements, double* ratio);

  std::vector<uint8_t> classes_, gaps_, tails_, payload_;
};

class DifferenceDecoder {
 public:
  // `out` is filled; `base` is what BaseOf(payload) names. None of the three overlap.
  Status Decode(ByteView payload, ByteView base, MutableBytes out, StreamDecoder& streams);

 private:
  std::vector<uint8_t> classes_, gaps_;
  std::vector<uint32_t> places_;
};

}  // namespace varve
