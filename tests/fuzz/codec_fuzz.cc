// Decoding hostile payloads, and encoding anything: what is encoded decodes to the
// same bytes, and no payload makes the decoder write elsewhere or allocate at will.
//
// Input: encoding (1 byte), raw size (3 bytes, little-endian), payload.

#include <algorithm>
#include <cstdlib>
#include <vector>

#include "store/codec/codec.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace varve;
  const ByteView input(data, size);
  Encoder encoder;
  Decoder decoder;

  ByteReader reader(input);
  const auto encoding = static_cast<Encoding>(reader.U8());
  const uint32_t low = reader.U16();
  const uint32_t raw_bytes = (low | uint32_t{reader.U8()} << 16) % (kChunkBytesMax + 1);
  if (reader.ok()) {
    std::vector<uint8_t> out(raw_bytes);
    const Status status = decoder.Decode(encoding, reader.Raw(reader.remaining()), out);
    if (!status.ok() && status.code() != Code::kCorrupt) std::abort();
  }

  const EncodedChunk encoded = encoder.Encode(input);
  std::vector<uint8_t> out(size);
  if (encoded.payload.size() > size) std::abort();
  if (!decoder.Decode(encoded.encoding, encoded.payload, out).ok()) std::abort();
  if (!std::equal(out.begin(), out.end(), input.begin())) std::abort();
  return 0;
}
