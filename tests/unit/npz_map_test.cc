#include <gtest/gtest.h>

#include "store/base/bytes.h"
#include "store/format/tensor_map.h"
#include "tests/support/bytes_source.h"

namespace varve {
namespace {

using testing::Little;

// An array of floats, 64 bytes of header before them.
std::string Npy(size_t count) {
  std::string header =
      "{'descr': '<f4', 'fortran_order': False, 'shape': (" + std::to_string(count) + ",), }";
  header.resize(117, ' ');
  header += '\n';
  return std::string("\x93NUMPY\x01\x00", 8) + Little(header.size(), 2) + header +
         std::string(4 * count, 'f');
}

struct Member {
  std::string name;
  std::string bytes;
  uint16_t method = 0;
};

// As PKWARE's APPNOTE has it; checksums are not looked at.
std::string Zip(const std::vector<Member>& members) {
  std::string file, directory;
  for (const Member& member : members) {
    const std::string sizes = Little(0, 4) + Little(member.bytes.size(), 4) +
                              Little(member.bytes.size(), 4) + Little(member.name.size(), 2) +
                              Little(0, 2);
    const std::string common =
        Little(20, 2) + Little(0, 2) + Little(member.method, 2) + Little(0, 4) + sizes;
    directory += Little(0x02014b50, 4) + Little(20, 2) + common + Little(0, 10) +
                 Little(file.size(), 4) + member.name;
    file += Little(0x04034b50, 4) + common + member.name + member.bytes;
  }
  const std::string end = Little(0x06054b50, 4) + Little(0, 4) + Little(members.size(), 2) +
                          Little(members.size(), 2) + Little(directory.size(), 4) +
                          Little(file.size(), 4) + Little(0, 2);
  return file + directory + end;
}

TensorMap MapOf(std::string file) {
  testing::BytesSource source(std::move(file));
  const auto map = ReadTensorMap(source);
  EXPECT_TRUE(map.ok());
  return map.ok() ? *map : TensorMap();
}

TEST(NpzMap, EachMemberIsATensor) {
  const std::string file = Zip({{"b.npy", Npy(10)}, {"layer/a.npy", Npy(20)}});
  const TensorMap map = MapOf(file);
  EXPECT_EQ(map.format, ContentFormat::kNpz);
  EXPECT_EQ(map.problem, "");
  ASSERT_EQ(map.tensors.size(), 2u);
  EXPECT_EQ(map.tensors[0].name, "b");
  EXPECT_EQ(map.tensors[1].name, "layer/a");
  EXPECT_EQ(map.tensors[1].dtype, DType::kF32);
  EXPECT_EQ(map.tensors[1].shape, std::vector<uint64_t>{20});
  for (const Tensor& tensor : map.tensors) {
    EXPECT_EQ(file.substr(tensor.begin_bytes, tensor.end_bytes - tensor.begin_bytes),
              std::string(4 * tensor.shape[0], 'f'));
  }
}

TEST(NpzMap, WhatCannotBeMappedIsSkippedAndTold) {
  const TensorMap packed = MapOf(Zip({{"a.npy", Npy(10), 8}, {"b.npy", Npy(10)}}));
  ASSERT_EQ(packed.tensors.size(), 1u);
  EXPECT_EQ(packed.tensors[0].name, "b");
  EXPECT_EQ(packed.problem, "array \"a\" is compressed");
  const TensorMap cut = MapOf(Zip({{"a.npy", Npy(10).substr(0, 150)}, {"b.npy", "nothing"}}));
  EXPECT_TRUE(cut.tensors.empty());
  EXPECT_NE(cut.problem, "");
  EXPECT_EQ(MapOf(Zip({{"a.txt", Npy(10)}, {"b.npy", Npy(10)}})).format, ContentFormat::kPlain);
}

TEST(NpzMap, CutOffOrTwiceHasNoTensors) {
  const std::string whole = Zip({{"a.npy", Npy(10)}, {"b.npy", Npy(10)}});
  for (size_t size = 0; size < whole.size(); size += 7)
    EXPECT_TRUE(MapOf(whole.substr(0, size)).tensors.empty()) << size;
  EXPECT_TRUE(MapOf(Zip({{"a.npy", Npy(10)}, {"a.npy", Npy(10)}})).tensors.empty());
}

}  // namespace
}  // namespace varve
