// Decoding hostile payloads, and encoding anything: what is encoded decodes to the
// same bytes, and no payload makes the decoder write elsewhere or allocate at will.
//
// Input: encoding (1 byte), raw size (3 bytes, little-endian), payload. The checksum in the
// header of planes is put right, so that what lies behind it is reached.

#include <algorithm>
#include <array>
#include <cstdlib>
#include <vector>

#include "store/base/checksum.h"
#include "store/codec/codec.h"

namespace varve {
namespace {

void Expect(bool condition) {
  if (!condition) std::abort();
}

std::vector<uint8_t> WithChecksum(ByteView payload) {
  std::vector<uint8_t> bytes(payload.begin(), payload.end());
  if (bytes.empty()) return bytes;
  const size_t checked = PlanesHeader::Bytes(static_cast<ElementType>(bytes[0])) - 8;
  if (bytes.size() < checked + 8) return bytes;
  const uint64_t checksum = Checksum64(ByteView(bytes).first(checked));
  std::memcpy(bytes.data() + checked, &checksum, sizeof(checksum));
  return bytes;
}

void DecodeHostile(ByteView input) {
  ByteReader reader(input);
  const auto encoding = static_cast<Encoding>(reader.U8());
  const uint32_t low = reader.U16();
  const uint32_t raw_bytes = (low | uint32_t{reader.U8()} << 16) % (kChunkBytesMax + 1);
  if (!reader.ok()) return;
  Decoder decoder;
  std::vector<uint8_t> out(raw_bytes);
  const ByteView payload = reader.Raw(reader.remaining());
  if (encoding != Encoding::kPlanes) {
    const Status status = decoder.Decode(encoding, payload, out);
    Expect(status.ok() || status.code() == Code::kCorrupt);
    return;
  }
  const std::vector<uint8_t> planes = WithChecksum(payload);
  const Status status = decoder.Decode(encoding, planes, out);
  Expect(status.ok() || status.code() == Code::kCorrupt);
  const auto header = ReadPlanesHeader(planes);
  if (!header.ok()) return;
  std::vector<uint8_t> top(size_t{header.value().count} * 2);
  const Status top_status = decoder.DecodePlanes(planes, 2, top);
  Expect(top_status.ok() || top_status.code() == Code::kCorrupt);
}

void RoundTrip(ByteView input, ElementType elements) {
  Encoder encoder;
  Decoder decoder;
  const EncodedChunk encoded = encoder.Encode(input, elements);
  Expect(encoded.payload.size() <= input.size());
  std::vector<uint8_t> out(input.size());
  Expect(decoder.Decode(encoded.encoding, encoded.payload, out).ok());
  Expect(std::equal(out.begin(), out.end(), input.begin()));
}

// The planes that Encode() would not choose, too.
void PlanesRoundTrip(ByteView input, ElementType elements, uint8_t choice) {
  std::array<StreamEffort, kElementWidthMax> efforts;
  for (unsigned p = 0; p < kElementWidthMax; ++p) {
    efforts[p] = static_cast<StreamEffort>((choice >> p % 4 * 2 & 3) % 3);
  }
  StreamEncoder streams;
  PlanesEncoder planes;
  const ByteView payload = planes.Encode(input, elements, efforts, streams);
  Decoder decoder;
  std::vector<uint8_t> out(input.size());
  Expect(decoder.Decode(Encoding::kPlanes, payload, out).ok());
  Expect(std::equal(out.begin(), out.end(), input.begin()));
}

}  // namespace
}  // namespace varve

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace varve;
  const ByteView input(data, size);
  if (size > kChunkBytesMax) return 0;
  DecodeHostile(input);
  RoundTrip(input, ElementType::kBytes);
  if (size == 0) return 0;
  const auto elements = static_cast<ElementType>(1 + data[0] % (kElementTypes - 1));
  RoundTrip(input, elements);
  PlanesRoundTrip(input, elements, data[size - 1]);
  return 0;
}
