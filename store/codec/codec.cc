#include "store/codec/codec.h"

#include <algorithm>
#include <array>

#include "store/codec/sample.h"
#include "store/codec/streams.h"

namespace varve {
namespace {

// The trial: three slices from the middle of each third.
constexpr size_t kSlices = 3;
constexpr size_t kSliceBytes = 4096;
constexpr size_t kSampleBytes = kSlices * kSliceBytes;
// Bytes that are not much more than the sample are not worth a trial.
constexpr size_t kTrialBytesMin = 4 * kSampleBytes;
// Below, the header of planes weighs too much.
constexpr size_t kPlanesBytesMin = 4096;

// `gained` saves at least `percent` of `raw`.
bool Gains(size_t raw, size_t gained, size_t percent) {
  return gained * 100 <= raw * (100 - percent);
}
constexpr size_t kTrialGainPercent = 6;
constexpr size_t kGainPercent = 3;

}  // namespace

struct Encoder::State {
  StreamEncoder streams;
  PlanesEncoder planes;
  DifferenceEncoder differences;
  std::array<uint8_t, kSampleBytes> sample;
  std::vector<uint8_t> encoded;
  CastPayload cast;

  // The size of `raw` compressed into `encoded`, or 0.
  size_t Compress(ByteView raw) {
    const size_t bound = StreamEncoder::Bound(raw.size());
    if (encoded.size() < bound) encoded.resize(bound);
    return streams.Compress(raw, encoded);
  }

  bool Promising(ByteView raw) {
    if (raw.size() < kTrialBytesMin) return true;
    const size_t third = raw.size() / kSlices;
    for (size_t i = 0; i < kSlices; ++i) {
      const ByteView slice = raw.subspan(i * third + (third - kSliceBytes) / 2, kSliceBytes);
      std::copy(slice.begin(), slice.end(), sample.begin() + i * kSliceBytes);
    }
    const size_t size = Compress(sample);
    return size != 0 && Gains(kSampleBytes, size, kTrialGainPercent);
  }

  EncodedChunk EncodeBytes(ByteView raw) {
    const auto raw_bytes = static_cast<uint32_t>(raw.size());
    if (Promising(raw)) {
      const size_t size = Compress(raw);
      if (size != 0 && Gains(raw.size(), size, kGainPercent)) {
        return {Encoding::kZstd, raw_bytes, ByteView(encoded).first(size)};
      }
    }
    return {Encoding::kRaw, raw_bytes, raw};
  }

  EncodedChunk EncodeFloats(ByteView raw, ElementType elements) {
    const auto raw_bytes = static_cast<uint32_t>(raw.size());
    const FloatSample floats(raw, elements);
    const double planes_ratio = floats.PlanesRatio();
    if (floats.Repeats()) {
      const size_t size = Compress(floats.bytes());
      const double zstd_ratio =
          static_cast<double>(size) / static_cast<double>(floats.bytes().size());
      if (size != 0 && zstd_ratio < planes_ratio) return EncodeBytes(raw);
    }
    if (planes_ratio * 100 <= 100 - kGainPercent) {
      const ByteView payload = planes.Encode(raw, elements, floats.Efforts(), streams);
      if (Gains(raw.size(), payload.size(), kGainPercent)) {
        return {Encoding::kPlanes, raw_bytes, payload};
      }
    }
    return {Encoding::kRaw, raw_bytes, raw};
  }
};

Encoder::Encoder() : state_(std::make_unique<State>()) {}
Encoder::~Encoder() = default;

EncodedChunk Encoder::Encode(ByteView raw, ElementType elements) {
  if (elements == ElementType::kBytes || raw.size() < kPlanesBytesMin) {
    return state_->EncodeBytes(raw);
  }
  return state_->EncodeFloats(raw, elements);
}

std::optional<EncodedChunk> Encoder::EncodeDifference(ByteView raw, ByteView base,
                                                      const ChunkId& base_id, ElementType elements,
                                                      size_t bytes_max) {
  const std::optional<ByteView> payload =
      state_->differences.Encode(raw, base, base_id, elements, bytes_max, state_->streams);
  if (!payload) return std::nullopt;
  return EncodedChunk{Encoding::kDifference, static_cast<uint32_t>(raw.size()), *payload};
}

std::optional<EncodedChunk> Encoder::EncodeAsCast(ByteView raw, ElementType elements, ByteView base,
                                                  const ChunkId& base_id,
                                                  ElementType base_elements) {
  const std::optional<CastPayload> payload =
      EncodeCast(raw, elements, base, base_id, base_elements);
  if (!payload || payload->size() >= raw.size()) return std::nullopt;
  state_->cast = *payload;
  return EncodedChunk{Encoding::kCast, static_cast<uint32_t>(raw.size()), state_->cast};
}

struct Decoder::State {
  StreamDecoder streams;
  PlanesDecoder planes;
  DifferenceDecoder differences;
};

Decoder::Decoder() : state_(std::make_unique<State>()) {}
Decoder::~Decoder() = default;

Status Decoder::Decode(Encoding encoding, ByteView payload, MutableBytes out, ByteView base) {
  switch (encoding) {
    case Encoding::kRaw:
      if (payload.size() != out.size()) return Status(Code::kCorrupt, "raw chunk of another size");
      // In place is allowed: whoever reads raw bytes reads them where they belong.
      if (payload.data() != out.data()) std::copy(payload.begin(), payload.end(), out.begin());
      return {};
    case Encoding::kZstd:
      return state_->streams.Decode(StreamMethod::kZstd, payload, out);
    case Encoding::kPlanes:
      return state_->planes.Decode(payload, out, state_->streams);
    case Encoding::kDifference:
      return state_->differences.Decode(payload, base, out, state_->streams);
    case Encoding::kCast:
      return DecodeCast(payload, base, out);
  }
  return Status(Code::kCorrupt,
                "unknown encoding " + std::to_string(static_cast<unsigned>(encoding)));
}

Status Decoder::DecodePlanes(ByteView prefix, unsigned plane_count, MutableBytes out) {
  return state_->planes.DecodePlanes(prefix, plane_count, out, state_->streams);
}

}  // namespace varve
