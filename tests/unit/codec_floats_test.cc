#include <gtest/gtest.h>

#include <bit>
#include <cmath>
#include <limits>
#include <random>
#include <vector>

#include "store/codec/byte_planes.h"
#include "store/codec/codec.h"
#include "store/codec/literals.h"
#include "store/format/tensor_map.h"

namespace varve {
namespace {

constexpr ElementType kFloats[] = {ElementType::kF16, ElementType::kBF16, ElementType::kF32,
                                   ElementType::kF64};

using Bytes = std::vector<uint8_t>;

template <typename T>
void Append(Bytes& bytes, T value, size_t size = sizeof(T)) {
  const auto* from = reinterpret_cast<const uint8_t*>(&value);
  bytes.insert(bytes.end(), from, from + size);
}

// Normally distributed weights of any type; F16 is cut from the bits of an F32 well enough.
Bytes Weights(ElementType elements, size_t count, uint64_t seed) {
  std::mt19937_64 random(seed);
  std::normal_distribution<double> distribution(0, 0.02);
  Bytes bytes;
  for (size_t i = 0; i < count; ++i) {
    const double value = distribution(random);
    const auto single = std::bit_cast<uint32_t>(static_cast<float>(value));
    if (elements == ElementType::kF64) Append(bytes, value);
    if (elements == ElementType::kF32) Append(bytes, single);
    if (elements == ElementType::kBF16) Append(bytes, static_cast<uint16_t>(single >> 16));
    if (elements == ElementType::kF16) {
      const uint32_t exponent = (single >> 23 & 0xff) - 112;
      const uint32_t half = exponent < 31 ? exponent << 10 | (single >> 13 & 0x3ff) : 0;
      Append(bytes, static_cast<uint16_t>(half | single >> 31 << 15));
    }
  }
  return bytes;
}

// Zeros, ones, infinities and NaNs of both signs, denormals, and their neighbours.
Bytes SpecialValues(ElementType elements, size_t count, uint64_t seed) {
  std::mt19937_64 random(seed);
  const unsigned width = WidthOf(elements);
  const unsigned bits = 8 * width;
  const unsigned mantissa = elements == ElementType::kF16    ? 10
                            : elements == ElementType::kBF16 ? 7
                            : elements == ElementType::kF32  ? 23
                                                             : 52;
  const uint64_t sign = uint64_t{1} << (bits - 1);
  const uint64_t infinity = (sign - 1) >> mantissa << mantissa;
  const uint64_t values[] = {0,
                             1,
                             infinity,
                             infinity + 1,
                             sign - 1,
                             infinity / 2,
                             infinity - 1,
                             (uint64_t{1} << mantissa) - 1};
  Bytes bytes;
  for (size_t i = 0; i < count; ++i) {
    uint64_t value = values[random() % std::size(values)];
    if (random() % 2 != 0) value |= sign;
    if (random() % 4 == 0) value += random() % 5 - 2;
    if (random() % 8 == 0) value = random();
    Append(bytes, value, width);
  }
  return bytes;
}

Bytes RandomBytes(size_t size, uint64_t seed) {
  std::mt19937_64 random(seed);
  Bytes bytes(size);
  for (uint8_t& byte : bytes) byte = static_cast<uint8_t>(random());
  return bytes;
}

Encoding ExpectRoundTrip(ByteView raw, ElementType elements) {
  Encoder encoder;
  Decoder decoder;
  const EncodedChunk encoded = encoder.Encode(raw, elements);
  EXPECT_LE(encoded.payload.size(), raw.size());
  Bytes out(raw.size());
  const Status status = decoder.Decode(encoded.encoding, encoded.payload, out);
  EXPECT_TRUE(status.ok()) << status.ToString();
  EXPECT_TRUE(std::equal(out.begin(), out.end(), raw.begin()));
  return encoded.encoding;
}

TEST(CodecFloats, EverySizeAndValueComesBack) {
  for (const ElementType elements : kFloats) {
    for (size_t count = 0; count <= 64; ++count) {
      ExpectRoundTrip(SpecialValues(elements, count, count), elements);
    }
    for (const size_t count : {1000u, 4099u, 30'001u, 131'072u}) {
      ExpectRoundTrip(SpecialValues(elements, count, count), elements);
      const Bytes weights = Weights(elements, count, count);
      for (size_t cut = 0; cut < WidthOf(elements); ++cut) {
        ExpectRoundTrip(ByteView(weights).subspan(cut), elements);
      }
      ExpectRoundTrip(RandomBytes(count, count), elements);
      ExpectRoundTrip(Bytes(count, 0), elements);
    }
  }
}

TEST(CodecFloats, WeightsBecomePlanes) {
  Encoder encoder;
  const auto ratio = [&](ElementType elements) {
    const Bytes weights = Weights(elements, (512 << 10) / WidthOf(elements), 1);
    const EncodedChunk encoded = encoder.Encode(weights, elements);
    EXPECT_EQ(encoded.encoding, Encoding::kPlanes);
    return static_cast<double>(weights.size()) / static_cast<double>(encoded.payload.size());
  };
  EXPECT_GT(ratio(ElementType::kF32), 1.19);
  EXPECT_GT(ratio(ElementType::kBF16), 1.49);
  EXPECT_GT(ratio(ElementType::kF16), 1.1);
  EXPECT_GT(ratio(ElementType::kF64), 1.05);
}

TEST(CodecFloats, WhatIsNoFloatIsKeptAsItDeserves) {
  Encoder encoder;
  EXPECT_EQ(encoder.Encode(RandomBytes(512 << 10, 3), ElementType::kF32).encoding, Encoding::kRaw);
  EXPECT_LT(encoder.Encode(Bytes(512 << 10, 0), ElementType::kF32).payload.size(), 100u);
  // One row again and again.
  const Bytes row = Weights(ElementType::kF32, 512, 4);
  Bytes rows;
  while (rows.size() < 512 << 10) rows.insert(rows.end(), row.begin(), row.end());
  const EncodedChunk repeated = encoder.Encode(rows, ElementType::kF32);
  EXPECT_LT(repeated.payload.size(), rows.size() / 20);
  // Zeros between weights, at random.
  Bytes sparse = Weights(ElementType::kF32, 128 << 10, 5);
  std::mt19937_64 random(6);
  for (size_t i = 0; i < sparse.size(); i += 4) {
    if (random() % 10 != 0) std::fill_n(sparse.begin() + static_cast<ptrdiff_t>(i), 4, 0);
  }
  EXPECT_LT(encoder.Encode(sparse, ElementType::kF32).payload.size(), sparse.size() / 4);
}

TEST(CodecFloats, TopPlanesOfF32AreTruncatedBf16) {
  const Bytes weights = Weights(ElementType::kF32, 100'003, 7);
  Encoder encoder;
  Decoder decoder;
  const EncodedChunk encoded = encoder.Encode(weights, ElementType::kF32);
  ASSERT_EQ(encoded.encoding, Encoding::kPlanes);
  const auto header = ReadPlanesHeader(encoded.payload);
  ASSERT_TRUE(header.ok());
  EXPECT_EQ(header.value().count, 100'003u);
  const size_t prefix_bytes = header.value().PrefixBytes(2);
  EXPECT_LT(prefix_bytes, weights.size() * 9 / 24);
  Bytes top(2 * 100'003);
  ASSERT_TRUE(decoder.DecodePlanes(encoded.payload.first(prefix_bytes), 2, top).ok());
  for (size_t i = 0; i < 100'003; ++i) {
    ASSERT_EQ(top[2 * i], weights[4 * i + 2]);
    ASSERT_EQ(top[2 * i + 1], weights[4 * i + 3]);
  }
  EXPECT_EQ(decoder.DecodePlanes(encoded.payload.first(prefix_bytes - 1), 2, top).code(),
            Code::kCorrupt);
  EXPECT_EQ(decoder.DecodePlanes(encoded.payload, 8, top).code(), Code::kCorrupt);
  // A plane of which a bit is wrong is noticed, although there is no hash of the prefix.
  Bytes damaged(encoded.payload.begin(), encoded.payload.end());
  damaged[prefix_bytes - 1] ^= 1;
  EXPECT_EQ(decoder.DecodePlanes(damaged, 2, top).code(), Code::kCorrupt);
  damaged[prefix_bytes - 1] ^= 1;
  damaged[4] ^= 1;
  EXPECT_EQ(ReadPlanesHeader(damaged).status().code(), Code::kCorrupt);
}

TEST(CodecFloats, PortableLoopsDoTheSame) {
  for (const unsigned width : {2u, 4u, 8u}) {
    for (const size_t count : {0u, 1u, 31u, 32u, 33u, 1000u, 4128u}) {
      const Bytes raw = RandomBytes(count * width, count + width);
      Bytes fast(raw.size()), plain(raw.size()), merged(raw.size());
      PlanePointers fast_planes{}, plain_planes{};
      ConstPlanePointers planes{};
      for (unsigned p = 0; p < width; ++p) {
        fast_planes[p] = fast.data() + p * count;
        plain_planes[p] = plain.data() + p * count;
        planes[p] = fast_planes[p];
      }
      SplitPlanes(width, raw, fast_planes);
      SplitPlanes(width, raw, plain_planes, Simd::kPortable);
      EXPECT_EQ(fast, plain);
      for (const Simd simd : {BestSimd(), Simd::kPortable}) {
        std::fill(merged.begin(), merged.end(), uint8_t{0});
        MergePlanes(width, planes, merged, simd);
        EXPECT_EQ(merged, raw);
      }
    }
  }
}

// zstd itself is the judge of frames that it did not write.
TEST(CodecFloats, LiteralsAreZstdFrames) {
  Decoder decoder;
  std::mt19937_64 random(8);
  for (int round = 0; round < 400; ++round) {
    const size_t size = 256 + random() % (round % 8 == 0 ? 400'000 : 5000);
    const size_t values = 2 + random() % (kLiteralMax - 1);
    const double skew = static_cast<double>(random() % 100) / 10;
    Bytes bytes(size);
    for (uint8_t& byte : bytes) {
      const double uniform = static_cast<double>(random() >> 11) / 0x1p53;
      byte = static_cast<uint8_t>(static_cast<double>(values) * std::pow(uniform, 1 + skew));
    }
    if (round % 3 == 0) bytes[random() % size] = kLiteralMax;
    Bytes frame(LiteralsBound(size)), out(size);
    const size_t written = WriteLiterals(bytes, frame);
    if (written == 0) continue;
    ASSERT_LE(written, frame.size());
    ASSERT_TRUE(decoder.Decode(Encoding::kZstd, ByteView(frame).first(written), out).ok());
    ASSERT_EQ(out, bytes);
  }
  Bytes frame(LiteralsBound(1000));
  EXPECT_EQ(WriteLiterals(Bytes(1000, 129), frame), 0u);
  EXPECT_EQ(WriteLiterals(Bytes(1000, 5), frame), 0u);
  EXPECT_EQ(WriteLiterals(Bytes(100, 5), frame), 0u);
}

TEST(CodecFloats, ElementsOfDTypes) {
  EXPECT_EQ(ElementsOf(DType::kF32, false), ElementType::kF32);
  EXPECT_EQ(ElementsOf(DType::kF32, true), ElementType::kBytes);
  EXPECT_EQ(ElementsOf(DType::kC64, false), ElementType::kF32);
  EXPECT_EQ(ElementsOf(DType::kC128, false), ElementType::kF64);
  EXPECT_EQ(ElementsOf(DType::kBF16, false), ElementType::kBF16);
  EXPECT_EQ(ElementsOf(DType::kF16, false), ElementType::kF16);
  EXPECT_EQ(ElementsOf(DType::kI64, false), ElementType::kBytes);
  EXPECT_EQ(ElementsOf(DType::kF8E4M3, false), ElementType::kBytes);
}

TEST(CodecFloats, DamagedBytesNeverEscape) {
  Encoder encoder;
  Decoder decoder;
  const Bytes raw = Weights(ElementType::kF32, 5003, 9);
  const EncodedChunk encoded = encoder.Encode(raw, ElementType::kF32);
  ASSERT_EQ(encoded.encoding, Encoding::kPlanes);
  const Bytes payload(encoded.payload.begin(), encoded.payload.end());
  std::mt19937_64 random(10);
  for (int i = 0; i < 3000; ++i) {
    Bytes damaged = payload;
    const size_t reach = i % 2 == 0 ? damaged.size() : 100;
    for (uint64_t n = 1 + random() % 4; n > 0; --n) {
      damaged[random() % reach] = static_cast<uint8_t>(random());
    }
    if (i % 16 == 0) damaged.resize(random() % damaged.size());
    Bytes out(raw.size());
    const Status status = decoder.Decode(Encoding::kPlanes, damaged, out);
    EXPECT_TRUE(status.ok() || status.code() == Code::kCorrupt);
  }
  Bytes out(raw.size());
  EXPECT_EQ(decoder.Decode(Encoding::kPlanes, {}, out).code(), Code::kCorrupt);
  EXPECT_EQ(
      decoder.Decode(Encoding::kPlanes, payload, MutableBytes(out).first(raw.size() - 4)).code(),
      Code::kCorrupt);
  ASSERT_TRUE(decoder.Decode(Encoding::kPlanes, payload, out).ok());
  EXPECT_EQ(out, raw);
}

}  // namespace
}  // namespace varve
