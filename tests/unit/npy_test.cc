#include "store/format/npy.h"

#include <gtest/gtest.h>

#include "tests/support/bytes_source.h"

namespace varve {
namespace {

// A file of version 1 as numpy.save writes it, with these entries in its header.
std::string Npy(std::string header, size_t data_bytes) {
  header = "{" + header + ", }";
  header.resize((header.size() + 10 + 64) / 64 * 64 - 10 - 1, ' ');
  header += '\n';
  std::string file("\x93NUMPY\x01\x00", 8);
  file += static_cast<char>(header.size() & 0xff);
  file += static_cast<char>(header.size() >> 8);
  return file + header + std::string(data_bytes, 'd');
}

TensorMap MapOf(std::string file) {
  testing::BytesSource source(std::move(file));
  const auto map = ReadNpyMap(source);
  EXPECT_TRUE(map.ok() && *map);
  return map.ok() && *map ? **map : TensorMap();
}

TEST(Npy, ArraysOfNumbers) {
  const std::string rest = "'fortran_order': False, 'shape': (3, 4)";
  const TensorMap map = MapOf(Npy("'descr': '<f4', " + rest, 48));
  ASSERT_EQ(map.tensors.size(), 1u) << map.problem;
  EXPECT_EQ(map.tensors[0].dtype, DType::kF32);
  EXPECT_EQ(map.tensors[0].shape, (std::vector<uint64_t>{3, 4}));
  EXPECT_EQ(map.tensors[0].begin_bytes, 128u);
  EXPECT_EQ(map.tensors[0].end_bytes, 128u + 48);
  EXPECT_TRUE(map.tensors[0].strides.empty());
  EXPECT_TRUE(MapOf(Npy("'descr': '<f4', " + rest, 47)).tensors.empty()) << "cut off";
  EXPECT_TRUE(MapOf(Npy("'descr': '>f4', " + rest, 48)).tensors.at(0).big_endian);
}

TEST(Npy, FortranOrderIsToldByStrides) {
  const TensorMap map = MapOf(Npy("'descr': '<i2', 'fortran_order': True, 'shape': (3, 4)", 24));
  ASSERT_EQ(map.tensors.size(), 1u) << map.problem;
  EXPECT_EQ(map.tensors[0].strides, (std::vector<uint64_t>{1, 3}));
}

TEST(Npy, HostileHeadersHaveNoTensors) {
  const std::string order = ", 'fortran_order': False, 'shape': ";
  for (const char* descr : {"'>[[['", "''", "'<'", "'O'", "'U99999999999999999999'", "'f'"})
    EXPECT_TRUE(MapOf(Npy("'descr': " + std::string(descr) + order + "(1,)", 64)).tensors.empty())
        << descr;
  for (const char* shape : {"(1152921504606846976, 9)", "(-1,)", "(1", "()()", "(1,,)"})
    EXPECT_TRUE(MapOf(Npy("'descr': '<f4'" + order + shape, 64)).tensors.empty()) << shape;
}

}  // namespace
}  // namespace varve
