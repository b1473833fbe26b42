// The encoding kPlanes: byte planes of floats, each coded by itself.
//
// The planes follow each other, the most significant first, so a prefix of the
// payload holds the upper bytes of every element: a reader that wants a tensor in
// 16 bits fetches half of a chunk or less.
//
// Threads: a coder belongs to one thread.
// Errors:  kCorrupt when the bytes are not what an encoder wrote. Decode() relies on
//          the payload's own checksum, which the pack keeps; DecodePlanes(), for which
//          there is none, checks those of the header and of the planes.
// Format:  docs/format/pack.md, "Planes".
#pragma once

#include <array>
#include <optional>
#include <vector>

#include "store/base/bytes.h"
#include "store/base/result.h"
#include "store/codec/elements.h"
#include "store/codec/streams.h"

namespace varve {

struct PlanesHeader {
  struct Plane {
    StreamMethod method = StreamMethod::kRaw;
    uint32_t stored_bytes = 0;
    uint64_t checksum = 0;  // of the stored bytes
  };

  ElementType elements = ElementType::kBytes;
  uint8_t tail_bytes = 0;                      // less than an element, at the payload's end
  uint32_t count = 0;                          // elements
  std::array<Plane, kElementWidthMax> planes;  // the first WidthOf(elements)

  // Bytes of the header.
  static size_t Bytes(ElementType elements);
  // Of the payload, from its start, for the top `plane_count` planes.
  size_t PrefixBytes(unsigned plane_count) const;
  // Writes itself with its checksum to the start of `out`.
  void Write(MutableBytes out) const;
};

// `prefix` is the payload or its first bytes.
Result<PlanesHeader> ReadPlanesHeader(ByteView prefix);
inline constexpr size_t kPlanesHeaderBytesMax = 16 + 16 * kElementWidthMax;

class PlanesEncoder {
 public:
  // `efforts` are those of the planes, the most significant first.
  // The payload, valid until the next call.
  ByteView Encode(ByteView raw, ElementType elements,
                  const std::array<StreamEffort, kElementWidthMax>& efforts,
                  StreamEncoder& streams);

 private:
  std::vector<uint8_t> split_;
  std::vector<uint8_t> payload_;
};

class PlanesDecoder {
 public:
  Status Decode(ByteView payload, MutableBytes out, StreamDecoder& streams);

  // The top `plane_count` bytes of every element, sign included, as little-endian integers: with
  // 2 of F32 a BF16, rounded towards zero. The tail is left out.
  // REQUIRES: plane_count is 2, 4 or 8 and no more than an element has; out.size() is that times
  // the header's count.
  // Fails with kCorrupt also when `prefix` has less than PrefixBytes(plane_count).
  Status DecodePlanes(ByteView prefix, unsigned plane_count, MutableBytes out,
                      StreamDecoder& streams);

 private:
  Status Merge(const PlanesHeader& header, ByteView prefix, unsigned plane_count, MutableBytes out,
               StreamDecoder& streams);

  std::vector<uint8_t> scratch_;
};

}  // namespace varve
