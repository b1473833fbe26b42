#include "store/codec/planes.h"

#include <algorithm>

#include "store/base/checksum.h"
#include "store/chunk/chunk.h"
#include "store/codec/byte_planes.h"

namespace varve {
namespace {

// What vector loops may touch at once; planes start at multiples of it.
constexpr size_t kAlign = 64;

constexpr size_t RoundUp(size_t size) { return (size + kAlign - 1) / kAlign * kAlign; }

template <typename T>
void Put(MutableBytes out, size_t offset, T value) {
  std::memcpy(out.data() + offset, &value, sizeof(value));
}

Status Corrupt(const char* what) { return Status(Code::kCorrupt, what); }

}  // namespace

size_t PlanesHeader::Bytes(ElementType elements) { return 16 + 16 * WidthOf(elements); }

size_t PlanesHeader::PrefixBytes(unsigned plane_count) const {
  size_t bytes = Bytes(elements);
  for (unsigned p = 0; p < plane_count; ++p) bytes += planes[p].stored_bytes;
  return bytes;
}

void PlanesHeader::Write(MutableBytes out) const {
  const size_t bytes = Bytes(elements);
  std::fill_n(out.begin(), bytes, uint8_t{0});
  Put(out, 0, static_cast<uint8_t>(elements));
  Put(out, 1, tail_bytes);
  Put(out, 4, count);
  for (unsigned p = 0; p < WidthOf(elements); ++p) {
    Put(out, 8 + 16 * p, static_cast<uint8_t>(planes[p].method));
    Put(out, 12 + 16 * p, planes[p].stored_bytes);
    Put(out, 16 + 16 * p, planes[p].checksum);
  }
  Put(out, bytes - 8, Checksum64(out.first(bytes - 8)));
}

Result<PlanesHeader> ReadPlanesHeader(ByteView prefix) {
  ByteReader reader(prefix);
  PlanesHeader header;
  const uint8_t type = reader.U8();
  header.elements = static_cast<ElementType>(type);
  if (type == 0 || type >= kElementTypes) return Corrupt("planes of unknown elements");
  const unsigned width = WidthOf(header.elements);
  header.tail_bytes = reader.U8();
  reader.U16();
  header.count = reader.U32();
  for (unsigned p = 0; p < width; ++p) {
    PlanesHeader::Plane& plane = header.planes[p];
    const uint8_t method = reader.U8();
    if (method >= kStreamMethods) return Corrupt("plane of an unknown method");
    plane.method = static_cast<StreamMethod>(method);
    reader.Raw(3);
    plane.stored_bytes = reader.U32();
    plane.checksum = reader.U64();
    if (plane.stored_bytes > kChunkBytesMax) return Corrupt("plane beyond a chunk");
  }
  const size_t checked = PlanesHeader::Bytes(header.elements) - 8;
  if (reader.U64() != Checksum64(prefix.first(std::min(checked, prefix.size()))) || !reader.ok()) {
    return Corrupt("header of planes");
  }
  if (header.tail_bytes >= width ||
      uint64_t{header.count} * width + header.tail_bytes > kChunkBytesMax) {
    return Corrupt("planes beyond a chunk");
  }
  return header;
}

ByteView PlanesEncoder::Encode(ByteView raw, ElementType elements,
                               const std::array<StreamEffort, kElementWidthMax>& efforts,
                               StreamEncoder& streams) {
  const unsigned width = WidthOf(elements);
  const size_t count = raw.size() / width;
  const size_t pitch = RoundUp(count);
  PlanesHeader header{
      elements, static_cast<uint8_t>(raw.size() % width), static_cast<uint32_t>(count), {}};
  split_.resize(std::max(split_.size(), pitch * width));
  PlanePointers planes{};
  for (unsigned p = 0; p < width; ++p) planes[p] = split_.data() + p * pitch;
  SplitPlanes(width, raw.first(count * width), planes);

  const size_t bound =
      kPlanesHeaderBytesMax + width * StreamEncoder::Bound(count) + kElementWidthMax;
  payload_.resize(std::max(payload_.size(), bound));
  const MutableBytes payload(payload_);
  size_t end = PlanesHeader::Bytes(elements);
  for (unsigned p = 0; p < width; ++p) {
    const StoredStream stored =
        streams.Encode({planes[p], count}, efforts[p], payload.subspan(end));
    const ByteView bytes = payload.subspan(end, stored.stored_bytes);
    header.planes[p] = {stored.method, stored.stored_bytes, Checksum64(bytes)};
    end += stored.stored_bytes;
  }
  const ByteView tail = raw.subspan(count * width);
  std::copy(tail.begin(), tail.end(), payload.begin() + static_cast<ptrdiff_t>(end));
  header.Write(payload);
  return payload.first(end + tail.size());
}

Status PlanesDecoder::Merge(const PlanesHeader& header, ByteView prefix, unsigned plane_count,
                            MutableBytes out, StreamDecoder& streams) {
  const size_t pitch = RoundUp(header.count);
  scratch_.resize(std::max(scratch_.size(), pitch * plane_count));
  ConstPlanePointers planes{};
  size_t offset = PlanesHeader::Bytes(header.elements);
  for (unsigned p = 0; p < plane_count; ++p) {
    const PlanesHeader::Plane& plane = header.planes[p];
    const ByteView stored = prefix.subspan(offset, plane.stored_bytes);
    offset += plane.stored_bytes;
    if (plane.method == StreamMethod::kRaw && stored.size() == header.count) {
      planes[p] = stored.data();
      continue;
    }
    const MutableBytes decoded(scratch_.data() + p * pitch, header.count);
    RETURN_IF_ERROR(streams.Decode(plane.method, stored, decoded));
    planes[p] = decoded.data();
  }
  MergePlanes(plane_count, planes, out);
  return {};
}

Status PlanesDecoder::Decode(ByteView payload, MutableBytes out, StreamDecoder& streams) {
  ASSIGN_OR_RETURN(const PlanesHeader header, ReadPlanesHeader(payload));
  const unsigned width = WidthOf(header.elements);
  const size_t planes_end = header.PrefixBytes(width);
  if (planes_end + header.tail_bytes != payload.size() ||
      size_t{header.count} * width + header.tail_bytes != out.size()) {
    return Corrupt("planes of another size");
  }
  const size_t tail_start = out.size() - header.tail_bytes;
  RETURN_IF_ERROR(Merge(header, payload, width, out.first(tail_start), streams));
  const ByteView tail = payload.subspan(planes_end);
  std::copy(tail.begin(), tail.end(), out.begin() + static_cast<ptrdiff_t>(tail_start));
  return {};
}

Status PlanesDecoder::DecodePlanes(ByteView prefix, unsigned plane_count, MutableBytes out,
                                   StreamDecoder& streams) {
  ASSIGN_OR_RETURN(const PlanesHeader header, ReadPlanesHeader(prefix));
  CHECK(plane_count == 2 || plane_count == 4 || plane_count == 8);
  if (plane_count > WidthOf(header.elements) || prefix.size() < header.PrefixBytes(plane_count) ||
      out.size() != size_t{header.count} * plane_count) {
    return Corrupt("planes of another size");
  }
  size_t offset = PlanesHeader::Bytes(header.elements);
  for (unsigned p = 0; p < plane_count; ++p) {
    const PlanesHeader::Plane& plane = header.planes[p];
    if (Checksum64(prefix.subspan(offset, plane.stored_bytes)) != plane.checksum) {
      return Corrupt("plane with a wrong checksum");
    }
    offset += plane.stored_bytes;
  }
  return Merge(header, prefix, plane_count, out, streams);
}

}  // namespace varve
