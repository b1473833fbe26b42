#include "store/codec/codec.h"

#include <gtest/gtest.h>

#include <random>
#include <string>
#include <vector>

namespace varve {
namespace {

std::vector<uint8_t> RandomBytes(size_t size, uint64_t seed) {
  std::mt19937_64 random(seed);
  std::vector<uint8_t> bytes(size);
  for (uint8_t& byte : bytes) byte = static_cast<uint8_t>(random());
  return bytes;
}

std::vector<uint8_t> CompressibleBytes(size_t size) {
  std::vector<uint8_t> bytes;
  for (uint32_t i = 0; bytes.size() < size; ++i) {
    const std::string line = "line " + std::to_string(i * i) + " of a log\n";
    bytes.insert(bytes.end(), line.begin(), line.end());
  }
  bytes.resize(size);
  return bytes;
}

TEST(Codec, RoundTrip) {
  Encoder encoder;
  Decoder decoder;
  for (const size_t size : {1u, 2u, 63u, 4096u, 12'288u, 50'000u, 524'288u, kChunkBytesMax}) {
    for (const auto& raw : {RandomBytes(size, size), CompressibleBytes(size)}) {
      const EncodedChunk encoded = encoder.Encode(raw);
      EXPECT_EQ(encoded.raw_bytes, size);
      EXPECT_LE(encoded.payload.size(), size);
      std::vector<uint8_t> out(size);
      const Status status = decoder.Decode(encoded.encoding, encoded.payload, out);
      ASSERT_TRUE(status.ok()) << status.ToString();
      EXPECT_EQ(out, raw);
    }
  }
}

TEST(Codec, ChoosesByGain) {
  Encoder encoder;
  const std::vector<uint8_t> noise = RandomBytes(512 << 10, 1);
  const EncodedChunk raw = encoder.Encode(noise);
  EXPECT_EQ(raw.encoding, Encoding::kRaw);
  EXPECT_EQ(raw.payload.data(), noise.data());
  const EncodedChunk zstd = encoder.Encode(CompressibleBytes(512 << 10));
  EXPECT_EQ(zstd.encoding, Encoding::kZstd);
  EXPECT_LT(zstd.payload.size(), size_t{512 << 10} / 3);
}

// The sample is promising, the whole is not: kept raw.
TEST(Codec, RawAgainWhenTheWholeDoesNotGain) {
  std::vector<uint8_t> bytes = RandomBytes(1 << 20, 2);
  // The slices of the trial: the middle of each third.
  const size_t third = bytes.size() / 3;
  for (size_t i = 0; i < 3; ++i) {
    std::fill_n(bytes.begin() + static_cast<ptrdiff_t>(i * third + (third - 4096) / 2), 4096, 0);
  }
  Encoder encoder;
  EXPECT_EQ(encoder.Encode(bytes).encoding, Encoding::kRaw);
}

TEST(Codec, WrongSizesAreCorrupt) {
  Encoder encoder;
  Decoder decoder;
  const std::vector<uint8_t> raw = CompressibleBytes(100'000);
  const EncodedChunk encoded = encoder.Encode(raw);
  ASSERT_EQ(encoded.encoding, Encoding::kZstd);
  for (const size_t size : {size_t{1}, raw.size() - 1, raw.size() + 1}) {
    std::vector<uint8_t> out(size);
    EXPECT_EQ(decoder.Decode(Encoding::kZstd, encoded.payload, out).code(), Code::kCorrupt);
    EXPECT_EQ(decoder.Decode(Encoding::kRaw, raw, out).code(), Code::kCorrupt);
  }
  std::vector<uint8_t> out(raw.size());
  EXPECT_EQ(decoder.Decode(Encoding::kZstd, {}, out).code(), Code::kCorrupt);
  const auto cut = encoded.payload.first(encoded.payload.size() / 2);
  EXPECT_EQ(decoder.Decode(Encoding::kZstd, cut, out).code(), Code::kCorrupt);
  EXPECT_EQ(decoder.Decode(static_cast<Encoding>(200), encoded.payload, out).code(),
            Code::kCorrupt);
}

TEST(Codec, DamagedBytesNeverEscape) {
  Encoder encoder;
  Decoder decoder;
  const std::vector<uint8_t> raw = CompressibleBytes(20'000);
  const EncodedChunk encoded = encoder.Encode(raw);
  const std::vector<uint8_t> payload(encoded.payload.begin(), encoded.payload.end());
  std::mt19937_64 random(9);
  for (int i = 0; i < 2000; ++i) {
    std::vector<uint8_t> damaged = payload;
    for (uint64_t n = 1 + random() % 4; n > 0; --n) {
      damaged[random() % damaged.size()] = static_cast<uint8_t>(random());
    }
    std::vector<uint8_t> out(raw.size());
    const Status status = decoder.Decode(Encoding::kZstd, damaged, out);
    EXPECT_TRUE(status.ok() || status.code() == Code::kCorrupt);
  }
  // It still works afterwards.
  std::vector<uint8_t> out(raw.size());
  ASSERT_TRUE(decoder.Decode(Encoding::kZstd, payload, out).ok());
  EXPECT_EQ(out, raw);
}

}  // namespace
}  // namespace varve
