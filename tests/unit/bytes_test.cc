#include "store/base/bytes.h"

#include <gtest/gtest.h>

#include <limits>
#include <string>

#include "tests/support/seed.h"

namespace varve {
namespace {

using testing::Random;
using testing::TestRounds;
using testing::TestSeed;

TEST(BytesTest, IsLittleEndianAndUnpadded) {
  std::string out;
  ByteWriter writer(&out);
  writer.U8(0x01);
  writer.U16(0x0302);
  writer.U32(0x07060504);
  writer.U64(0x0f0e0d0c0b0a0908);
  writer.Text("ab");
  EXPECT_EQ(out, std::string("\x01\x02\x03\x04\x05\x06\x07\x08\x09\x0a\x0b\x0c\x0d\x0e\x0f"
                             "\x02"
                             "ab"));
  ByteReader reader(out);
  EXPECT_EQ(reader.U8(), 0x01U);
  EXPECT_EQ(reader.U16(), 0x0302U);
  EXPECT_EQ(reader.U32(), 0x07060504U);
  EXPECT_EQ(reader.U64(), 0x0f0e0d0c0b0a0908U);
  EXPECT_FALSE(reader.Done());
  EXPECT_EQ(reader.Text(), "ab");
  EXPECT_TRUE(reader.Done());
}

TEST(BytesTest, VarintsOfEveryLength) {
  for (unsigned bits = 0; bits <= 64; ++bits) {
    for (const uint64_t below : {uint64_t{0}, uint64_t{1}}) {
      const uint64_t power = bits == 64 ? 0 : uint64_t{1} << bits;
      const uint64_t value = power - below;
      std::string out;
      ByteWriter(&out).Varint(value);
      EXPECT_LE(out.size(), 10U);
      ByteReader reader(out);
      EXPECT_EQ(reader.Varint(), value);
      EXPECT_TRUE(reader.Done());
      for (size_t cut = 0; cut < out.size(); ++cut) {
        ByteReader short_reader(std::string_view(out).substr(0, cut));
        EXPECT_EQ(short_reader.Varint(), 0U);
        EXPECT_FALSE(short_reader.ok());
      }
    }
  }
}

TEST(BytesTest, EndlessVarintIsRefused) {
  const std::string endless(20, '\xff');
  ByteReader reader(endless);
  EXPECT_EQ(reader.Varint(), 0U);
  EXPECT_FALSE(reader.ok());
}

// The tenth byte has room for one bit; more would be cut off in silence.
TEST(BytesTest, VarintBeyond64BitsIsRefused) {
  const std::string largest = std::string(9, '\xff') + '\x01';
  ByteReader reader(largest);
  EXPECT_EQ(reader.Varint(), std::numeric_limits<uint64_t>::max());
  EXPECT_TRUE(reader.Done());
  const std::string larger = std::string(9, '\xff') + '\x02';
  ByteReader refusing(larger);
  EXPECT_EQ(refusing.Varint(), 0U);
  EXPECT_FALSE(refusing.ok());
}

TEST(BytesTest, NothingIsReadAfterAFailure) {
  const std::string bytes("\x05\x06\x07", 3);
  ByteReader reader(bytes);
  EXPECT_EQ(reader.U32(), 0U);
  EXPECT_FALSE(reader.ok());
  EXPECT_EQ(reader.U8(), 0U);
  EXPECT_EQ(reader.Raw(1).size(), 0U);
  EXPECT_EQ(reader.Text(), "");
  EXPECT_FALSE(reader.Done());
}

TEST(BytesTest, LengthsThatLieAreRefused) {
  std::string out;
  ByteWriter writer(&out);
  writer.Varint(std::numeric_limits<uint64_t>::max());
  writer.Raw(AsBytes("abc"));
  ByteReader reader(out);
  EXPECT_EQ(reader.Text(), "");
  EXPECT_FALSE(reader.ok());
}

TEST(BytesTest, RawDoesNotCopy) {
  const std::string bytes = "abcdef";
  ByteReader reader(bytes);
  reader.U8();
  const ByteView view = reader.Raw(3);
  EXPECT_EQ(AsText(view).data(), bytes.data() + 1);
  EXPECT_EQ(reader.remaining(), 2U);
}

TEST(BytesTest, RandomBytesNeverReadBeyondTheEnd) {
  Random random(TestSeed());
  for (uint64_t round = 0; round < TestRounds(2000); ++round) {
    // Of its own on the heap, so that the address sanitizer sees a byte too many.
    const std::string bytes = random.Bytes(random.Below(40));
    const std::unique_ptr<uint8_t[]> copy(new uint8_t[bytes.size()]);
    std::copy(bytes.begin(), bytes.end(), copy.get());
    ByteReader reader(ByteView(copy.get(), bytes.size()));
    size_t remaining = reader.remaining();
    while (reader.ok() && !reader.Done()) {
      switch (random.Below(4)) {
        case 0:
          reader.Varint();
          break;
        case 1:
          EXPECT_LE(reader.Text().size(), bytes.size());
          break;
        case 2:
          reader.U64();
          break;
        default:
          reader.U16();
      }
      EXPECT_LE(reader.remaining(), remaining);
      remaining = reader.remaining();
    }
  }
}

}  // namespace
}  // namespace varve
