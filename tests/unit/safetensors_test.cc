#include "store/format/safetensors.h"

#include <gtest/gtest.h>

#include "store/format/completeness.h"
#include "tests/support/bytes_source.h"
#include "tests/support/seed.h"

namespace varve {
namespace {

using testing::BytesSource;
using testing::Random;
using testing::TestSeed;

std::string File(const std::string& header, size_t data_bytes) {
  std::string file;
  ByteWriter out(&file);
  out.U64(header.size());
  return file + header + std::string(data_bytes, 'd');
}

Completeness Check(std::string bytes, uint64_t size = 0) {
  BytesSource source(std::move(bytes), size);
  const Result<Completeness> result = CheckCompleteness(source);
  EXPECT_TRUE(result.ok()) << result.status().ToString();
  return *result;
}

constexpr char kHeader[] = R"({"__metadata__":{"format":"pt","step":"7"},)"
                           R"("b":{"dtype":"F32","shape":[2,3],"data_offsets":[8,32]},)"
                           R"("a":{"dtype":"BF16","shape":[4],"data_offsets":[0,8]}}  )";

void ExpectWhole(const Completeness& found) {
  EXPECT_EQ(found.format, ContentFormat::kSafetensors);
  EXPECT_TRUE(found.complete) << found.reason;
  EXPECT_EQ(found.reason, "");
}
void ExpectIncomplete(const Completeness& found, const std::string& reason) {
  EXPECT_EQ(found.format, ContentFormat::kSafetensors);
  EXPECT_FALSE(found.complete);
  EXPECT_EQ(found.reason, reason);
}
void ExpectPlain(const Completeness& found) {
  EXPECT_EQ(found.format, ContentFormat::kPlain);
  EXPECT_TRUE(found.complete);
}

TEST(Safetensors, WholeFiles) {
  ExpectWhole(Check(File(kHeader, 32)));
  ExpectWhole(Check(File("{}", 0)));
  ExpectWhole(Check(File(R"({"__metadata__":{}})", 0)));
  ExpectWhole(Check(File(R"({"empty":{"dtype":"F32","shape":[0],"data_offsets":[0,0]}})", 0)));
  ExpectWhole(
      Check(File(R"({"x":{"data_offsets":[0,4],"dtype":"U8","shape":[4],"more":{"y":[1]}}})", 4)));
}

TEST(Safetensors, EveryTruncationIsSeen) {
  const std::string file = File(kHeader, 32);
  for (size_t size = 10; size < file.size(); ++size) {
    const Completeness found = Check(file.substr(0, size));
    EXPECT_EQ(found.format, ContentFormat::kSafetensors) << size;
    EXPECT_FALSE(found.complete) << size;
  }
  const size_t data_begin = file.size() - 32;
  ExpectIncomplete(
      Check(file.substr(0, data_begin + 20)),
      "expected " + std::to_string(file.size()) + " bytes, has " + std::to_string(data_begin + 20));
  ExpectIncomplete(Check(file.substr(0, 20)),
                   "expected at least " + std::to_string(data_begin) + " bytes, has 20");
}

TEST(Safetensors, LongerIsNotWholeEither) { EXPECT_FALSE(Check(File(kHeader, 33)).complete); }

TEST(Safetensors, HeaderThatWasWrittenInPart) {
  // As a writer leaves it that set the size first and died.
  std::string file = File(kHeader, 32);
  const size_t size = file.size();
  ExpectIncomplete(Check(file.substr(0, 40), size), "the header is damaged");
  ExpectIncomplete(Check(file.substr(0, 9), size), "the header is damaged");
  ExpectPlain(Check("", size));
}

TEST(Safetensors, OffsetsThatDoNotFit) {
  ExpectIncomplete(Check(File(R"({"a":{"data_offsets":[0,4]},"b":{"data_offsets":[2,6]}})", 6)),
                   "the tensors overlap or leave gaps");
  ExpectIncomplete(Check(File(R"({"a":{"data_offsets":[0,4]},"b":{"data_offsets":[6,8]}})", 8)),
                   "the tensors overlap or leave gaps");
  ExpectIncomplete(Check(File(R"({"a":{"data_offsets":[0,18446744073709551615]}})", 8)),
                   "a tensor ends beyond any file");
  // Two that add up to more than 64 bits.
  EXPECT_FALSE(Check(File(R"({"a":{"data_offsets":[0,18446744073709551615]},)"
                          R"("b":{"data_offsets":[0,18446744073709551615]}})",
                          8))
                   .complete);
}

TEST(Safetensors, OtherFormatsWithALengthAndJson) {
  ExpectPlain(Check(File(R"({"version":3,"rows":[1,2,3]})", 100)));
  ExpectPlain(Check(File(R"({"a":{"dtype":"F32"}})", 100)));
  ExpectPlain(Check(File(R"({"a":{"data_offsets":[0]}})", 100)));
  ExpectPlain(Check(File(R"({"a":{"data_offsets":[4,0]}})", 100)));
  ExpectPlain(Check(File(R"({"a":{"data_offsets":[0,1,2]}})", 100)));
  ExpectPlain(Check(File(R"({"a":{"data_offsets":["0",4]}})", 100)));
  ExpectPlain(Check(File(R"({"a":{"data_offsets":[-1,4]}})", 100)));
  ExpectPlain(Check(File(R"({"a":{"deep":{"data_offsets":[0,4]}}})", 4)));
  ExpectPlain(Check(File(R"([1,2])", 4)));
}

TEST(Safetensors, PlainFiles) {
  ExpectPlain(Check(""));
  ExpectPlain(Check("{"));
  ExpectPlain(Check(std::string(8, '\0')));
  ExpectPlain(Check(std::string(4096, '\0')));
  ExpectPlain(Check("{\"a\": 1, \"b\": 2}  just json"));
  std::string too_long;
  ByteWriter out(&too_long);
  out.U64(kSafetensorsHeaderBytesMax + 1);
  ExpectPlain(Check(too_long + "{\"a\"", 1000));
}

TEST(Safetensors, HostileHeadersStayCheap) {
  // Nested without end; a text without end; digits, blanks without end.
  const size_t large = 90'000'000;
  for (const std::string& begin : {std::string("{\"a\":") + std::string(100'000, '['),
                                   std::string("{\"") + std::string(8u << 20, 'a'),
                                   std::string("{\"a\":") + std::string(8u << 20, '1'),
                                   std::string("{ ") + std::string(8u << 20, ' ')}) {
    std::string file;
    ByteWriter out(&file);
    out.U64(large);
    BytesSource source(file + begin, large + 100);
    const Result<Completeness> found = CheckCompleteness(source);
    ASSERT_TRUE(found.ok());
    EXPECT_LE(source.bytes_read(), 6u << 20);
    EXPECT_FALSE(found->format == ContentFormat::kSafetensors && found->complete);
  }
}

TEST(Safetensors, ManyTensors) {
  std::string header = "{";
  for (int i = 0; i < 50'000; ++i) {
    if (i > 0) header += ',';
    header += "\"model.layers." + std::to_string(i) +
              ".weight\":{\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":[" +
              std::to_string(4 * i) + "," + std::to_string(4 * i + 4) + "]}";
  }
  header += "}";
  header.append((8 - header.size() % 8) % 8, ' ');
  ExpectWhole(Check(File(header, 200'000)));
  EXPECT_FALSE(Check(File(header, 199'999)).complete);
  BytesSource source(File(header, 200'000));
  EXPECT_EQ(ReadSafetensorsLayout(source, header.size())->tensors, 50'000u);
}

TEST(Safetensors, ReadErrorsAreErrors) {
  for (const uint64_t at : {uint64_t{0}, uint64_t{200'000}}) {
    const std::string header = R"({"a":{"data_offsets":[0,4]}})" + std::string(400'000, ' ');
    BytesSource source(File(header, 4));
    source.FailAt(at);
    EXPECT_EQ(CheckCompleteness(source).status().code(), Code::kIo) << at;
  }
}

TEST(Safetensors, AnyDamageToTheHeaderIsSurvived) {
  Random random(TestSeed());
  const std::string good = File(kHeader, 32);
  for (uint64_t round = testing::TestRounds(20'000); round > 0; --round) {
    std::string bad = good;
    for (uint64_t n = random.Between(1, 6); n > 0; --n)
      bad[random.Below(bad.size())] = static_cast<char>(random.Below(256));
    (void)Check(bad.substr(0, random.Below(bad.size() + 1)));
  }
}

}  // namespace
}  // namespace varve
