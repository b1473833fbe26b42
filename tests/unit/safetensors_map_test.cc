#include <gtest/gtest.h>

#include "store/format/tensor_map.h"
#include "tests/support/bytes_source.h"

namespace varve {
namespace {

using testing::BytesSource;

std::string File(const std::string& header, size_t data_bytes) {
  std::string file;
  ByteWriter(&file).U64(header.size());
  return file + header + std::string(data_bytes, 'd');
}

TensorMap MapOf(std::string bytes, uint64_t size = 0) {
  BytesSource source(std::move(bytes), size);
  Result<TensorMap> map = ReadTensorMap(source);
  EXPECT_TRUE(map.ok()) << map.status().ToString();
  return *std::move(map);
}

void ExpectProblem(const TensorMap& map, const std::string& problem) {
  EXPECT_EQ(map.format, ContentFormat::kSafetensors);
  EXPECT_TRUE(map.tensors.empty());
  EXPECT_EQ(map.problem, problem);
}

std::string One(const std::string& dtype, const std::string& shape, const std::string& offsets) {
  return R"({"x":{"dtype":")" + dtype + R"(","shape":)" + shape + R"(,"data_offsets":)" + offsets +
         "}}";
}

TEST(SafetensorsMap, TensorsInTheOrderOfTheFile) {
  const std::string header = R"({"__metadata__":{"dtype":"F32"},)"
                             R"("b":{"dtype":"F32","shape":[2,3],"data_offsets":[8,32]},)"
                             R"("e":{"dtype":"F32","shape":[0,9],"data_offsets":[8,8]},)"
                             R"("a":{"data_offsets":[0,8],"dtype":"BF16","shape":[4]},)"
                             R"("s":{"dtype":"U8","shape":[],"data_offsets":[32,33]}}  )";
  const uint64_t data = 8 + header.size();
  const TensorMap map = MapOf(File(header, 33));
  EXPECT_EQ(map.format, ContentFormat::kSafetensors);
  EXPECT_EQ(map.problem, "");
  const std::vector<Tensor> expected = {
      {"a", DType::kBF16, false, {4}, {}, data, data + 8, ""},
      {"e", DType::kF32, false, {0, 9}, {}, data + 8, data + 8, ""},
      {"b", DType::kF32, false, {2, 3}, {}, data + 8, data + 32, ""},
      {"s", DType::kU8, false, {}, {}, data + 32, data + 33, ""}};
  EXPECT_EQ(map.tensors, expected);
}

TEST(SafetensorsMap, EveryTypeOfTheFormat) {
  for (const auto& [name, bytes] : std::vector<std::pair<std::string, unsigned>>{{"BOOL", 1},
                                                                                 {"U8", 1},
                                                                                 {"I8", 1},
                                                                                 {"F8_E5M2", 1},
                                                                                 {"F8_E4M3", 1},
                                                                                 {"I16", 2},
                                                                                 {"U16", 2},
                                                                                 {"F16", 2},
                                                                                 {"BF16", 2},
                                                                                 {"I32", 4},
                                                                                 {"U32", 4},
                                                                                 {"F32", 4},
                                                                                 {"C64", 8},
                                                                                 {"F64", 8},
                                                                                 {"I64", 8},
                                                                                 {"U64", 8}}) {
    const std::string size = std::to_string(3 * bytes);
    const TensorMap map = MapOf(File(One(name, "[3]", "[0," + size + "]"), 3 * bytes));
    ASSERT_EQ(map.tensors.size(), 1u) << name << map.problem;
    EXPECT_EQ(DTypeName(map.tensors[0].dtype), name);
    EXPECT_EQ(ElementBytes(map.tensors[0].dtype), bytes);
  }
}

TEST(SafetensorsMap, TypesOfTheFutureAreOpaque) {
  const TensorMap map = MapOf(File(One("F4", "[2,4]", "[0,4]"), 4));
  ASSERT_EQ(map.tensors.size(), 1u);
  EXPECT_EQ(map.tensors[0].dtype, DType::kOpaque);
  EXPECT_EQ(map.tensors[0].type, "F4");
  EXPECT_EQ(map.tensors[0].shape, (std::vector<uint64_t>{2, 4}));
}

TEST(SafetensorsMap, WhatTheVerdictAllowsAndTheMapDoesNot) {
  ExpectProblem(MapOf(File(One("F32", "[3]", "[0,8]"), 8)),
                "tensor 'x' has not the size of its shape");
  ExpectProblem(MapOf(File(R"({"x":{"dtype":"U8","data_offsets":[0,4]}})", 4)),
                "a tensor has no dtype or no shape");
  ExpectProblem(MapOf(File(R"({"x":{"shape":[4],"data_offsets":[0,4]}})", 4)),
                "a tensor has no dtype or no shape");
  for (const char* shape : {"[-4]", "[4.0]", "[\"4\"]", "[[4]]", "[4,null]", "4"}) {
    ExpectProblem(MapOf(File(One("U8", shape, "[0,4]"), 4)), "a tensor has no dtype or no shape");
  }
  // Sizes that add up, although two lie on each other.
  ExpectProblem(MapOf(File(R"({"a":{"dtype":"U8","shape":[4],"data_offsets":[0,4]},)"
                           R"("b":{"dtype":"U8","shape":[4],"data_offsets":[2,6]},)"
                           R"("c":{"dtype":"U8","shape":[0],"data_offsets":[8,8]}})",
                           8)),
                "the tensors overlap or leave gaps");
}

TEST(SafetensorsMap, ShapesThatOverflow) {
  for (const char* shape : {"[1152921504606846976,16]", "[4294967296,4294967296]",
                            "[18446744073709551615,2]", "[9223372036854775808]"}) {
    ExpectProblem(MapOf(File(One("F32", shape, "[0,0]"), 0)),
                  "tensor 'x' has more elements than any file");
  }
  ExpectProblem(MapOf(File(One("F32", "[1152921504606846976]", "[0,0]"), 0)),
                "tensor 'x' has not the size of its shape");
  EXPECT_EQ(MapOf(File(One("F32", "[18446744073709551615,0,2]", "[0,0]"), 0)).tensors.size(), 1u);
  std::string axes = "[1";
  for (int i = 0; i < 64; ++i) axes += ",1";
  ExpectProblem(MapOf(File(One("U8", axes + "]", "[0,1]"), 1)),
                "a tensor has no dtype or no shape");
}

TEST(SafetensorsMap, UnfinishedFilesSayWhatTheyMiss) {
  const std::string file = File(One("U8", "[4]", "[0,4]"), 4);
  ExpectProblem(
      MapOf(file.substr(0, file.size() - 1)),
      "expected " + std::to_string(file.size()) + " bytes, has " + std::to_string(file.size() - 1));
  ExpectProblem(MapOf(file.substr(0, 40), file.size()), "the header is damaged");
}

TEST(SafetensorsMap, PlainFiles) {
  for (const std::string& bytes : {std::string(), std::string(100, 'x'), File(R"({"a":1})", 0)}) {
    const TensorMap map = MapOf(bytes);
    EXPECT_EQ(map.format, ContentFormat::kPlain);
    EXPECT_TRUE(map.tensors.empty());
    EXPECT_EQ(map.problem, "");
  }
}

TEST(SafetensorsMap, AClaimOfAHundredMegabytesCostsNone) {
  std::string file;
  ByteWriter(&file).U64(100'000'000);
  BytesSource source(file + "{\"", 100'000'008);
  EXPECT_EQ(ReadTensorMap(source)->problem, "the header is damaged");
  EXPECT_LT(source.bytes_read(), 10u << 20);
}

TEST(SafetensorsMap, ReadErrorsAreErrors) {
  BytesSource source(File(One("U8", "[4]", "[0,4]"), 4));
  source.FailAt(20);
  EXPECT_EQ(ReadTensorMap(source).status().code(), Code::kIo);
}

}  // namespace
}  // namespace varve
