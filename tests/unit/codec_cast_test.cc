#include <gtest/gtest.h>

#include <cstring>
#include <random>
#include <vector>

#include "store/codec/cast.h"
#include "store/codec/codec.h"

namespace varve {
namespace {

using Bytes = std::vector<uint8_t>;
constexpr ChunkId kBase{{3, 1, 4}};

Bytes Floats(size_t count, uint64_t seed) {
  std::mt19937_64 random(seed);
  std::normal_distribution<float> weight(0, 0.02f);
  Bytes bytes(count * sizeof(float));
  for (size_t i = 0; i < count; ++i) {
    const float value = weight(random);
    std::memcpy(bytes.data() + i * sizeof(value), &value, sizeof(value));
  }
  return bytes;
}

// As float to bfloat16 is defined: what is nearest, of two the even one.
Bytes Rounded(const Bytes& floats) {
  Bytes out;
  for (size_t i = 0; i < floats.size(); i += sizeof(float)) {
    uint32_t bits;
    std::memcpy(&bits, floats.data() + i, sizeof(bits));
    uint32_t low = bits & 0xffff, high = bits >> 16;
    if (low > 0x8000 || (low == 0x8000 && high % 2 == 1)) ++high;
    out.push_back(static_cast<uint8_t>(high));
    out.push_back(static_cast<uint8_t>(high >> 8));
  }
  return out;
}

Bytes Decoded(const EncodedChunk& chunk, const Bytes& base) {
  Bytes out(chunk.raw_bytes);
  Decoder decoder;
  const Status status = decoder.Decode(chunk.encoding, chunk.payload, out, base);
  EXPECT_TRUE(status.ok()) << status.ToString();
  return out;
}

TEST(CodecCast, AnExportIsNothingButItsSource) {
  Bytes wide = Floats(5003, 1);
  // Ties, both ways; the largest finite number becomes infinite; zeros, denormals.
  const uint32_t special[] = {0x3f808000, 0x3f818000, 0xbf808000, 0x7f7fffff,
                              0x80000000, 1,          0x7fff};
  std::memcpy(wide.data(), special, sizeof(special));
  const Bytes narrow = Rounded(wide);
  Encoder encoder;
  const auto cast =
      encoder.EncodeAsCast(narrow, ElementType::kBF16, wide, kBase, ElementType::kF32);
  ASSERT_TRUE(cast);
  EXPECT_EQ(cast->encoding, Encoding::kCast);
  EXPECT_EQ(cast->payload.size(), kCastBytes);
  EXPECT_EQ(BaseOf(cast->payload).value(), kBase);
  EXPECT_EQ(Decoded(*cast, wide), narrow);
}

TEST(CodecCast, WidenedIsExact) {
  const Bytes narrow = Rounded(Floats(3000, 2));
  Bytes wide;
  for (size_t i = 0; i < narrow.size(); i += 2)
    wide.insert(wide.end(), {0, 0, narrow[i], narrow[i + 1]});
  Encoder encoder;
  const auto cast =
      encoder.EncodeAsCast(wide, ElementType::kF32, narrow, kBase, ElementType::kBF16);
  ASSERT_TRUE(cast);
  EXPECT_EQ(Decoded(*cast, narrow), wide);
}

TEST(CodecCast, OneOtherBitAndItIsNone) {
  const Bytes wide = Floats(5003, 3);
  const Bytes narrow = Rounded(wide);
  Encoder encoder;
  std::mt19937_64 random(4);
  for (int i = 0; i < 200; ++i) {
    Bytes other = narrow;
    other[random() % other.size()] ^= static_cast<uint8_t>(1u << random() % 8);
    EXPECT_FALSE(encoder.EncodeAsCast(other, ElementType::kBF16, wide, kBase, ElementType::kF32));
  }
}

TEST(CodecCast, OtherTypesAndSizesAreNone) {
  const Bytes wide = Floats(100, 5);
  const Bytes narrow = Rounded(wide);
  const ByteView some = ByteView(narrow).first(198);
  EXPECT_FALSE(EncodeCast(some, ElementType::kBF16, wide, kBase, ElementType::kF32));
  EXPECT_FALSE(
      EncodeCast(ByteView(narrow).first(199), ElementType::kBF16, wide, kBase, ElementType::kF32));
  EXPECT_FALSE(EncodeCast(narrow, ElementType::kF16, wide, kBase, ElementType::kF32));
  EXPECT_FALSE(EncodeCast(wide, ElementType::kF32, wide, kBase, ElementType::kF32));
  EXPECT_FALSE(EncodeCast({}, ElementType::kBF16, {}, kBase, ElementType::kF32));
}

TEST(CodecCast, DamagedPayloadsAreCorrupt) {
  const Bytes wide = Floats(100, 6);
  const Bytes narrow = Rounded(wide);
  const auto payload = EncodeCast(narrow, ElementType::kBF16, wide, kBase, ElementType::kF32);
  ASSERT_TRUE(payload);
  Bytes out(narrow.size());
  EXPECT_TRUE(DecodeCast(*payload, wide, out).ok());
  for (size_t size = 0; size < kCastBytes; ++size)
    EXPECT_EQ(DecodeCast(ByteView(*payload).first(size), wide, out).code(), Code::kCorrupt);
  for (size_t i = 16; i < kCastBytes; ++i) {
    for (int value = 0; value < 256; ++value) {
      CastPayload damaged = *payload;
      if (damaged[i] == value) continue;
      damaged[i] = static_cast<uint8_t>(value);
      EXPECT_EQ(DecodeCast(damaged, wide, out).code(), Code::kCorrupt);
    }
  }
  EXPECT_EQ(DecodeCast(*payload, ByteView(wide).first(396), out).code(), Code::kCorrupt);
  EXPECT_EQ(DecodeCast(*payload, {}, out).code(), Code::kCorrupt);
  EXPECT_EQ(DecodeCast(*payload, wide, {}).code(), Code::kCorrupt);
}

}  // namespace
}  // namespace varve
