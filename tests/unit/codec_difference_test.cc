#include <gtest/gtest.h>

#include <cmath>
#include <random>

#include "store/codec/codec.h"

namespace varve {
namespace {

using Bytes = std::vector<uint8_t>;

constexpr ElementType kStepping[] = {ElementType::kF16, ElementType::kBF16, ElementType::kF32};
constexpr ChunkId kBase{{7, 8, 9}};

// Any bits at all: NaNs, infinities, denormals.
Bytes AnyBits(size_t size, uint64_t seed) {
  std::mt19937_64 random(seed);
  Bytes bytes(size);
  for (uint8_t& byte : bytes) byte = static_cast<uint8_t>(random());
  return bytes;
}

// Weights of a layer, and the same after steps of about `rate`, of which `share` happened.
struct Series {
  Bytes base, next;
};
Series Trained(ElementType elements, size_t count, double rate, double share, uint64_t seed) {
  std::mt19937_64 random(seed);
  std::normal_distribution<double> normal;
  Series series;
  const auto append = [&](Bytes& bytes, double value) {
    const auto single = static_cast<float>(value);
    uint32_t word;
    std::memcpy(&word, &single, sizeof(word));
    const size_t width = WidthOf(elements);
    if (elements == ElementType::kBF16) word >>= 16;
    if (elements == ElementType::kF16)
      word = (word >> 16 & 0x8000) | ((word >> 13) - (112u << 10)) % 0x7c00;
    bytes.insert(bytes.end(), reinterpret_cast<uint8_t*>(&word),
                 reinterpret_cast<uint8_t*>(&word) + width);
  };
  for (size_t i = 0; i < count; ++i) {
    const double weight = 0.02 * normal(random);
    const bool moves = std::uniform_real_distribution<double>()(random) < share;
    append(series.base, weight);
    append(series.next, moves ? weight + rate * normal(random) : weight);
  }
  return series;
}

// The size, or 0 where it is no difference.
size_t ExpectRoundTrip(ByteView raw, ByteView base, ElementType elements) {
  Encoder encoder;
  Decoder decoder;
  const auto encoded = encoder.EncodeDifference(raw, base, kBase, elements, 2 * raw.size() + 1000);
  if (!encoded) return 0;
  EXPECT_EQ(encoded->encoding, Encoding::kDifference);
  EXPECT_EQ(BaseOf(encoded->payload).value(), kBase);
  Bytes out(raw.size());
  const Status status = decoder.Decode(Encoding::kDifference, encoded->payload, out, base);
  EXPECT_TRUE(status.ok()) << status.ToString();
  EXPECT_TRUE(std::equal(out.begin(), out.end(), raw.begin()));
  return encoded->payload.size();
}

TEST(CodecDifference, AnyBitsComeBack) {
  for (const ElementType elements : kStepping) {
    const size_t width = WidthOf(elements);
    for (const size_t count : {8u, 63u, 64u, 65u, 1000u, 1024u, 1025u, 30'001u, 131'072u}) {
      const Bytes raw = AnyBits(count * width + count % width, count);
      const Bytes base = AnyBits(raw.size(), count + 1);
      EXPECT_GT(ExpectRoundTrip(raw, base, elements), 0u);
      EXPECT_LT(ExpectRoundTrip(raw, raw, elements), 100u) << "nothing changed";
      // All but one at either end.
      for (const size_t place : {size_t{0}, count - 1}) {
        Bytes changed = base;
        changed[place * width] ^= 1;
        EXPECT_LT(ExpectRoundTrip(changed, base, elements), count / 64 + 100);
      }
    }
  }
}

TEST(CodecDifference, LargestStepsComeBack) {
  for (const ElementType elements : kStepping) {
    const size_t width = WidthOf(elements);
    Bytes low(4096, 0xff), high(4096, 0xff), zero(4096, 0), minus(4096, 0);
    for (size_t i = width - 1; i < high.size(); i += width) {
      high[i] = 0x7f;
      minus[i] = 0x80;
    }
    const Bytes* values[] = {&low, &high, &zero, &minus};
    for (const Bytes* raw : values) {
      for (const Bytes* base : values) ExpectRoundTrip(*raw, *base, elements);
    }
  }
}

TEST(CodecDifference, SmallStepsAreSmall) {
  const auto ratio = [](ElementType elements, double rate, double share) {
    const size_t count = (512u << 10) / WidthOf(elements);
    const Series series = Trained(elements, count, rate, share, 1);
    const size_t size = ExpectRoundTrip(series.next, series.base, elements);
    return static_cast<double>(series.next.size()) / static_cast<double>(size);
  };
  EXPECT_GT(ratio(ElementType::kF32, 1e-4, 1), 1.6);
  EXPECT_GT(ratio(ElementType::kBF16, 1e-4, 1), 3.0);
  EXPECT_GT(ratio(ElementType::kF16, 1e-4, 1), 1.8);
  // One element in a hundred costs no more than itself.
  EXPECT_GT(ratio(ElementType::kBF16, 1e-3, 0.01), 70);
  EXPECT_GT(ratio(ElementType::kF32, 1e-3, 0.01), 80);
  EXPECT_GT(ratio(ElementType::kF32, 1e-3, 0), 5000);
}

TEST(CodecDifference, WhatDoesNotGainIsRefused) {
  Encoder encoder;
  const Bytes raw = AnyBits(512 << 10, 1), base = AnyBits(512 << 10, 2);
  EXPECT_FALSE(encoder.EncodeDifference(raw, base, kBase, ElementType::kF32, raw.size()));
  EXPECT_FALSE(encoder.EncodeDifference(raw, raw, kBase, ElementType::kBytes, raw.size()));
  EXPECT_FALSE(encoder.EncodeDifference(raw, raw, kBase, ElementType::kF64, raw.size()));
  EXPECT_FALSE(encoder.EncodeDifference(raw, raw, kBase, ElementType::kF32, 10));
}

TEST(CodecDifference, PortableLoopsDoTheSame) {
  for (const ElementType elements : kStepping) {
    for (const StepClass by : {StepClass::kBits, StepClass::kExponent}) {
      const size_t count = 5003;
      const Bytes raw = AnyBits(count * WidthOf(elements), 3);
      Bytes base = AnyBits(raw.size(), 4);
      for (size_t i = 0; i < raw.size(); ++i) {
        if (i / 100 % 2 == 0) base[i] = raw[i];
      }
      Bytes fast(count + 8), plain(count + 8), fast_tails(TailsBound(count)), tails(fast_tails);
      const size_t size =
          TakeSteps(elements, by, raw, base, plain.data(), tails.data(), Simd::kPortable);
      EXPECT_EQ(TakeSteps(elements, by, raw, base, fast.data(), fast_tails.data()), size);
      fast.resize(count), plain.resize(count), tails.resize(size), fast_tails.resize(size);
      EXPECT_EQ(fast, plain);
      EXPECT_EQ(fast_tails, tails);
      // And back; then with classes that do not belong to the tails.
      std::mt19937_64 random(5);
      for (int round = 0; round < 100; ++round) {
        Bytes fast_out(raw.size()), out(raw.size());
        const bool sound = MakeSteps(elements, by, base, plain.data(), tails, out, Simd::kPortable);
        EXPECT_EQ(MakeSteps(elements, by, base, plain.data(), tails, fast_out), sound);
        EXPECT_EQ(sound, round == 0);
        EXPECT_EQ(fast_out, out);
        if (round == 0) {
          EXPECT_EQ(out, raw);
        }
        plain[random() % count] ^= static_cast<uint8_t>(1 + random() % 255);
      }
    }
  }
}

TEST(CodecDifference, DamagedBytesNeverEscape) {
  Encoder encoder;
  Decoder decoder;
  for (const double share : {1.0, 0.05}) {
    const Series series = Trained(ElementType::kF32, 5003, 1e-4, share, 9);
    const auto encoded = encoder.EncodeDifference(series.next, series.base, kBase,
                                                  ElementType::kF32, series.next.size());
    ASSERT_TRUE(encoded);
    const Bytes payload(encoded->payload.begin(), encoded->payload.end());
    std::mt19937_64 random(10);
    for (int i = 0; i < 3000; ++i) {
      Bytes damaged = payload;
      const size_t reach = i % 2 == 0 ? damaged.size() : 100;
      for (uint64_t n = 1 + random() % 4; n > 0; --n)
        damaged[random() % reach] = static_cast<uint8_t>(random());
      if (i % 16 == 0) damaged.resize(random() % damaged.size());
      Bytes out(series.next.size());
      const Status status = decoder.Decode(Encoding::kDifference, damaged, out, series.base);
      EXPECT_TRUE(status.ok() || status.code() == Code::kCorrupt);
    }
    Bytes out(series.next.size());
    EXPECT_EQ(decoder.Decode(Encoding::kDifference, payload, out).code(), Code::kCorrupt)
        << "no base";
    ASSERT_TRUE(decoder.Decode(Encoding::kDifference, payload, out, series.base).ok());
    EXPECT_EQ(out, series.next);
  }
}

}  // namespace
}  // namespace varve
