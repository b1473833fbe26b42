#include <gtest/gtest.h>

#include "store/format/tensor_map.h"
#include "tests/support/bytes_source.h"

namespace varve {
namespace {

using testing::Little;
std::string Text(std::string_view text) { return Little(text.size(), 8) + std::string(text); }

// A file as the specification has it.
struct File {
  uint32_t version = 3;
  std::string pairs, tensors;
  uint64_t pair_count = 0, tensor_count = 0;
  uint64_t alignment = 32;
  size_t data_bytes = 4096;

  File& Pair(std::string_view key, uint32_t type, const std::string& value) {
    pairs += Text(key) + Little(type, 4) + value;
    ++pair_count;
    return *this;
  }
  File& Tensor(std::string_view name, const std::vector<uint64_t>& inner_first, uint32_t type,
               uint64_t offset) {
    tensors += Text(name) + Little(inner_first.size(), 4);
    for (const uint64_t axis : inner_first) tensors += Little(axis, 8);
    tensors += Little(type, 4) + Little(offset, 8);
    ++tensor_count;
    return *this;
  }
  std::string Header() const {
    return "GGUF" + Little(version, 4) + Little(tensor_count, 8) + Little(pair_count, 8) + pairs +
           tensors;
  }
  uint64_t DataBegin() const { return (Header().size() + alignment - 1) / alignment * alignment; }
  std::string Bytes() const {
    std::string bytes = Header();
    bytes.resize(static_cast<size_t>(DataBegin()), '\0');
    return bytes + std::string(data_bytes, 'd');
  }
};

TensorMap MapOf(std::string file) {
  testing::BytesSource source(std::move(file));
  const auto map = ReadTensorMap(source);
  EXPECT_TRUE(map.ok());
  return map.ok() ? *map : TensorMap();
}

File Model() {
  File file;
  file.Pair("general.architecture", 8, Text("llama"));
  file.Pair("numbers", 9, Little(4, 4) + Little(3, 8) + Little(1, 4) + Little(2, 4) + Little(3, 4));
  file.Pair("words", 9, Little(8, 4) + Little(2, 8) + Text("a") + Text("bc"));
  file.Pair("lists", 9, Little(9, 4) + Little(1, 8) + Little(0, 4) + Little(2, 8) + "xy");
  file.Pair("f", 12, Little(0, 8));
  file.Tensor("token_embd.weight", {256, 4}, 12, 0);  // Q4_K: 4 blocks
  file.Tensor("output_norm.weight", {10, 3}, 0, 576 + 32);
  return file;
}

TEST(GgufMap, TensorsOfBothKinds) {
  for (const uint32_t version : {2u, 3u}) {
    File file = Model();
    file.version = version;
    const TensorMap map = MapOf(file.Bytes());
    EXPECT_EQ(map.format, ContentFormat::kGguf);
    EXPECT_EQ(map.problem, "");
    ASSERT_EQ(map.tensors.size(), 2u);
    EXPECT_EQ(map.tensors[0].name, "token_embd.weight");
    EXPECT_EQ(map.tensors[0].dtype, DType::kOpaque);
    EXPECT_EQ(map.tensors[0].type, "Q4_K");
    EXPECT_EQ(map.tensors[0].shape, (std::vector<uint64_t>{4, 256}));
    EXPECT_EQ(map.tensors[0].begin_bytes, file.DataBegin());
    EXPECT_EQ(map.tensors[0].end_bytes, file.DataBegin() + 4 * 144);
    EXPECT_EQ(map.tensors[1].dtype, DType::kF32);
    EXPECT_EQ(map.tensors[1].shape, (std::vector<uint64_t>{3, 10}));
    EXPECT_EQ(map.tensors[1].begin_bytes, file.DataBegin() + 608);
    EXPECT_EQ(map.tensors[1].end_bytes, file.DataBegin() + 608 + 120);
  }
}

TEST(GgufMap, AnotherAlignment) {
  File file = Model();
  file.Pair("general.alignment", 4, Little(512, 4));
  file.alignment = 512;
  const TensorMap map = MapOf(file.Bytes());
  ASSERT_EQ(map.tensors.size(), 2u);
  EXPECT_EQ(map.tensors[0].begin_bytes % 512, 0u);
}

TEST(GgufMap, WhatIsRefused) {
  const auto problem = [](const File& file) {
    const TensorMap map = MapOf(file.Bytes());
    EXPECT_EQ(map.format, ContentFormat::kGguf);
    EXPECT_TRUE(map.tensors.empty());
    return map.problem;
  };
  File file = Model();
  file.version = 1;
  EXPECT_NE(problem(file).find("version 1"), std::string::npos);
  file.version = 0x03000000;
  EXPECT_NE(problem(file).find("big-endian"), std::string::npos);
  file = Model();
  file.tensor_count = uint64_t{1} << 60;
  EXPECT_NE(problem(file), "");
  file = Model();
  file.tensor_count = 100;
  EXPECT_NE(problem(file), "");
  file = Model();
  file.Tensor("huge", {uint64_t{1} << 60, uint64_t{1} << 60}, 0, 0);
  EXPECT_NE(problem(file), "");
  file = Model();
  file.Tensor("outside", {4096}, 0, 0xfffffffffffff000);
  EXPECT_NE(problem(file), "");
  file = Model();
  file.Tensor("overlapping", {10}, 0, 0);
  EXPECT_NE(problem(file), "");
  file = Model();
  file.Tensor("no block", {100}, 12, 2048);
  EXPECT_NE(problem(file), "");
  file = Model();
  file.Pair("general.alignment", 4, Little(0, 4));
  EXPECT_NE(problem(file), "");
  file = Model();
  file.Pair("bomb", 9, Little(8, 4) + Little(uint64_t{1} << 60, 8));
  EXPECT_NE(problem(file), "");
  file = Model();
  std::string nested;
  for (int i = 0; i < 1000; ++i) nested += Little(9, 4) + Little(1, 8);
  file.Pair("nested", 9, nested + Little(0, 4) + Little(0, 8));
  EXPECT_NE(problem(file), "");
}

TEST(GgufMap, UnknownTypesAreLeftOut) {
  File file = Model();
  file.Tensor("future", {10}, 200, 2048);
  const TensorMap map = MapOf(file.Bytes());
  EXPECT_EQ(map.tensors.size(), 2u);
  EXPECT_NE(map.problem.find("future"), std::string::npos);
}

TEST(GgufMap, CutAnywhere) {
  const std::string whole = Model().Bytes();
  for (size_t size = 4; size < Model().Header().size(); ++size) {
    const TensorMap map = MapOf(whole.substr(0, size));
    EXPECT_TRUE(map.tensors.empty());
  }
}

}  // namespace
}  // namespace varve
