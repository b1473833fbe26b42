// Encodes chunks losslessly, choosing by a quick trial, and decodes them safely.
//
// Bytes are kept as one zstd frame or raw; floats also as byte planes, of which only
// those are coded that gain (planes.h), as steps from another chunk (difference.h), or as what
// another chunk is in another type (cast.h).
//
// Threads: free functions; an Encoder or Decoder belongs to one thread.
// Errors:  Decode() fails with kCorrupt on any bytes that no encoder wrote. It
//          never reads or writes out of bounds, and allocates only a bounded
//          amount, whatever the bytes are.
#pragma once

#include <memory>
#include <optional>
#include <vector>

#include "store/base/bytes.h"
#include "store/base/result.h"
#include "store/chunk/chunk.h"
#include "store/codec/cast.h"
#include "store/codec/difference.h"
#include "store/codec/elements.h"
#include "store/codec/planes.h"

namespace varve {

// `payload` points into the encoder, or at the input itself for kRaw; it stays
// valid until the encoder's next call, or as long as the input.
struct EncodedChunk {
  Encoding encoding = Encoding::kRaw;
  uint32_t raw_bytes = 0;
  ByteView payload;
};

class Encoder {
 public:
  Encoder();
  ~Encoder();
  Encoder(const Encoder&) = delete;
  Encoder& operator=(const Encoder&) = delete;

  // Tries a sample first: incompressible bytes cost little more than a look.
  // `elements` is a hint: whatever it says, the bytes come back. Their first element begins
  // at the first byte.
  EncodedChunk Encode(ByteView raw, ElementType elements = ElementType::kBytes);

  // As a difference; nothing when that would take more than `bytes_max` bytes.
  // REQUIRES: `base`, of the name `base_id`, is as long as `raw`.
  std::optional<EncodedChunk> EncodeDifference(ByteView raw, ByteView base, const ChunkId& base_id,
                                               ElementType elements, size_t bytes_max);
  // As a cast; nothing when it is none.
  std::optional<EncodedChunk> EncodeAsCast(ByteView raw, ElementType elements, ByteView base,
                                           const ChunkId& base_id, ElementType base_elements);

 private:
  struct State;
  std::unique_ptr<State> state_;
};

class Decoder {
 public:
  Decoder();
  ~Decoder();
  Decoder(const Decoder&) = delete;
  Decoder& operator=(const Decoder&) = delete;

  // REQUIRES: out.size() is the chunk's raw size; `payload` does not overlap `out`,
  // except that a raw payload may be `out` itself. `base` is what BaseOf(payload) names, where
  // HasBase(encoding), and overlaps neither.
  Status Decode(Encoding encoding, ByteView payload, MutableBytes out, ByteView base = {});

  // The floats of a kPlanes payload in fewer bytes, from its start alone: see
  // PlanesDecoder::DecodePlanes().
  Status DecodePlanes(ByteView prefix, unsigned plane_count, MutableBytes out);

 private:
  struct State;
  std::unique_ptr<State> state_;
};

}  // namespace varve
