// What torch.distributed.checkpoint writes: zips one behind the other.
#include <gtest/gtest.h>

#include "store/format/completeness.h"
#include "store/format/tensor_map.h"
#include "tests/support/bytes_source.h"
#include "tests/support/zip_builder.h"

namespace varve {
namespace {

using testing::BytesSource;
using testing::ZipBuilder;

// The pickle of one tensor of `count` floats in storage "0", by the opcodes of protocol 2.
std::string TensorPickle(uint8_t count) {
  using std::string_literals::operator""s;
  const std::string number = "K"s + static_cast<char>(count);
  const std::string storage =
      "(X\x07\0\0\0storagectorch\nFloatStorage\nX\x01\0\0\0000X\x03\0\0\0cpu"s + number + "tQ";
  return "\x80\x02"s + "ctorch._utils\n_rebuild_tensor_v2\n(" + storage + "K\0"s + number + "\x85" +
         "K\x01\x85\x89}tR.";
}

std::string Saved(uint8_t count, const ZipBuilder::Options& options = {}) {
  ZipBuilder zip(options);
  zip.Add("archive/data.pkl", TensorPickle(count));
  zip.Add("archive/data/0", std::string(count * sizeof(float), static_cast<char>(count)));
  zip.Add("archive/version", "3\n");
  return zip.Finish();
}

TensorMap MapOf(std::string file) {
  BytesSource source(std::move(file));
  const auto map = ReadTensorMap(source);
  EXPECT_TRUE(map.ok());
  return map.ok() ? *map : TensorMap();
}

Completeness VerdictOf(std::string file) {
  BytesSource source(std::move(file));
  const auto verdict = CheckCompleteness(source);
  EXPECT_TRUE(verdict.ok());
  return verdict.ok() ? *verdict : Completeness();
}

TEST(DistcpMap, EachZipIsATensor) {
  for (const bool zip64 : {false, true}) {
    for (const bool descriptors : {false, true}) {
      const ZipBuilder::Options options{.zip64 = zip64, .descriptors = descriptors, .comment = ""};
      std::string file;
      for (const uint8_t count : std::initializer_list<uint8_t>{10, 20, 30})
        file += Saved(count, options);
      EXPECT_EQ(VerdictOf(file).format, ContentFormat::kDistcp);
      EXPECT_TRUE(VerdictOf(file).complete) << VerdictOf(file).reason;
      const TensorMap map = MapOf(file);
      EXPECT_EQ(map.format, ContentFormat::kDistcp);
      EXPECT_EQ(map.problem, "");
      ASSERT_EQ(map.tensors.size(), 3u);
      for (size_t i = 0; i < 3; ++i) {
        const Tensor& tensor = map.tensors[i];
        const auto count = static_cast<uint8_t>(10 * (i + 1));
        EXPECT_EQ(tensor.name, std::to_string(i));
        EXPECT_EQ(tensor.dtype, DType::kF32);
        EXPECT_EQ(tensor.shape, (std::vector<uint64_t>{count}));
        EXPECT_EQ(file.substr(static_cast<size_t>(tensor.begin_bytes), 4 * count),
                  std::string(4 * count, static_cast<char>(count)));
      }
    }
  }
}

TEST(DistcpMap, OneZipIsAnOrdinaryFile) {
  const std::string file = Saved(10);
  EXPECT_EQ(VerdictOf(file).format, ContentFormat::kTorchZip);
  const TensorMap map = MapOf(file);
  EXPECT_EQ(map.format, ContentFormat::kTorchZip);
  ASSERT_EQ(map.tensors.size(), 1u);
}

TEST(DistcpMap, CutOffItIsIncomplete) {
  const std::string file = Saved(10) + Saved(20);
  for (size_t size = Saved(10).size() + 1; size < file.size(); ++size) {
    const Completeness verdict = VerdictOf(file.substr(0, size));
    EXPECT_FALSE(verdict.complete) << size;
  }
}

TEST(DistcpMap, WhatLiesBetweenIsNoted) {
  const TensorMap map = MapOf(Saved(10) + std::string(100, 'x') + Saved(20));
  EXPECT_EQ(map.tensors.size(), 1u);
  EXPECT_NE(map.problem, "");
}

}  // namespace
}  // namespace varve
