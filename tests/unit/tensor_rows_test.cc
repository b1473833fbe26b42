#include "fs/core/tensor_rows.h"

#include <gtest/gtest.h>

#include <cstring>

#include "store/format/tensor_regions.h"
#include "tests/support/bytes_source.h"
#include "tests/support/map_catalog.h"

namespace varve {
namespace {

constexpr ContentId kContent = 42;

Tensor MakeTensor(std::string name, DType dtype, std::vector<uint64_t> shape, uint64_t begin) {
  Tensor tensor;
  tensor.name = std::move(name);
  tensor.dtype = dtype;
  tensor.shape = std::move(shape);
  uint64_t size = ElementBytes(dtype);
  for (const uint64_t axis : tensor.shape) size *= axis;
  tensor.begin_bytes = begin;
  tensor.end_bytes = begin + size;
  return tensor;
}

TensorMap MakeMap() {
  TensorMap map;
  map.format = ContentFormat::kSafetensors;
  map.tensors.push_back(MakeTensor("a.weight", DType::kF32, {64, 128}, 1000));
  map.tensors.push_back(MakeTensor("b", DType::kBF16, {}, map.tensors.back().end_bytes));
  map.tensors.push_back(MakeTensor("c", DType::kI64, {0, 7}, map.tensors.back().end_bytes));
  map.tensors.back().big_endian = true;
  map.tensors.push_back(MakeTensor("d", DType::kF16, {4, 8}, map.tensors.back().end_bytes));
  map.tensors.back().strides = {1, 4};
  map.tensors.push_back(MakeTensor("e", DType::kOpaque, {32}, 50'000));
  map.tensors.back().type = "Q4_K";
  map.tensors.back().end_bytes = 50'144;
  return map;
}

void Store(Catalog& catalog, const TensorMap& map, TensorHead head) {
  Batch batch;
  for (TensorRow& row : EncodeTensorRows(kContent, map, std::move(head)))
    batch.Put(std::move(row.key), std::move(row.value));
  ASSERT_TRUE(catalog.Apply(batch).ok());
}

TEST(TensorRows, AMapIsReadAsItWasWritten) {
  testing::MapCatalog catalog;
  const TensorMap map = MakeMap();
  TensorHead head;
  head.signature = 77;
  head.sketch = {1, 2, 0xffffffff};
  Store(catalog, map, head);
  const auto read = FindTensorMap(catalog, kContent);
  ASSERT_TRUE(read.ok() && *read);
  EXPECT_EQ((*read)->tensors, map.tensors);
  EXPECT_EQ((*read)->format, map.format);
  const auto found = FindTensorHead(catalog, kContent);
  ASSERT_TRUE(found.ok() && *found);
  EXPECT_EQ((*found)->signature, 77u);
  EXPECT_EQ((*found)->sketch, head.sketch);
  EXPECT_EQ((*found)->tensors, map.tensors.size());
  const auto other = FindTensorMap(catalog, kContent + 1);
  EXPECT_TRUE(other.ok() && !*other);
}

TEST(TensorRows, ALongMapHasManyPartsAndGoesAsAWhole) {
  testing::MapCatalog catalog;
  TensorMap map;
  for (uint64_t i = 0; i < 20'000; ++i)
    map.tensors.push_back(MakeTensor("layers." + std::to_string(i * 7919) + ".weight", DType::kF32,
                                     {i}, i * 100'000));
  Store(catalog, map, {});
  const auto found = FindTensorHead(catalog, kContent);
  ASSERT_TRUE(found.ok() && *found);
  EXPECT_GT((*found)->parts, 1u);
  const auto read = FindTensorMap(catalog, kContent);
  ASSERT_TRUE(read.ok() && *read);
  EXPECT_EQ((*read)->tensors, map.tensors);
  Batch batch;
  ASSERT_TRUE(AppendTensorMapRemoval(catalog, kContent, &batch).ok());
  EXPECT_EQ(batch.changes().size(), (*found)->parts + 1);
}

TEST(TensorRows, DamageIsAnError) {
  const TensorMap map = MakeMap();
  TensorHead head;
  head.sketch = {5};
  const std::vector<TensorRow> rows = EncodeTensorRows(kContent, map, head);
  ASSERT_EQ(rows.size(), 2u);
  for (size_t cut = 0; cut < rows[0].value.size(); ++cut)
    EXPECT_FALSE(DecodeTensorHead(rows[0].value.substr(0, cut)).ok()) << cut;
  for (size_t cut = 0; cut < rows[1].value.size(); ++cut) {
    testing::MapCatalog catalog;
    Batch batch;
    batch.Put(rows[0].key, rows[0].value);
    batch.Put(rows[1].key, rows[1].value.substr(0, cut));
    ASSERT_TRUE(catalog.Apply(batch).ok());
    EXPECT_EQ(FindTensorMap(catalog, kContent).status().code(), Code::kCorrupt) << cut;
  }
}

TEST(TensorRegions, SmallAndSharedTensorsHaveNone) {
  TensorMap map = MakeMap();
  ASSERT_EQ(RegionsOf(map).size(), 1u);
  EXPECT_EQ(RegionsOf(map)[0].begin_bytes, 1000u);
  EXPECT_EQ(RegionsOf(map)[0].end_bytes, 1000u + 64 * 128 * 4);
  EXPECT_EQ(RegionsOf(map)[0].elements, ElementType::kF32);
  // The same bytes under another name, and a view that goes on behind them.
  map.tensors = {MakeTensor("a", DType::kF32, {4096}, 0), MakeTensor("b", DType::kF32, {4096}, 0),
                 MakeTensor("c", DType::kF32, {4096}, 8192)};
  ASSERT_EQ(RegionsOf(map).size(), 2u);
  EXPECT_EQ(RegionsOf(map)[1].begin_bytes, 16'384u);
  EXPECT_EQ(RegionsOf(map)[1].end_bytes, 8192u + 16'384);
}

// A file with the tensors of `map`, in which each number is its place times `scale`.
std::string FileOf(const TensorMap& map, float scale) {
  std::string bytes(static_cast<size_t>(map.tensors.back().end_bytes), '\0');
  for (const Tensor& tensor : map.tensors)
    for (uint64_t i = 0; i < (tensor.end_bytes - tensor.begin_bytes) / 4; ++i) {
      const float number = (static_cast<float>(i) + 1) * scale;
      std::memcpy(bytes.data() + tensor.begin_bytes + 4 * i, &number, 4);
    }
  return bytes;
}

TEST(TensorSketch, TellsHowNearTwoModelsAre) {
  TensorMap map;
  map.tensors = {MakeTensor("x", DType::kF32, {1000}, 0),
                 MakeTensor("w", DType::kF32, {900}, 4000)};
  TensorMap moved;  // the same model in a file of another order
  moved.tensors = {MakeTensor("w", DType::kF32, {900}, 64),
                   MakeTensor("x", DType::kF32, {1000}, 5000)};
  const Fingerprinter fingerprinter(std::string(Fingerprinter::kSecretBytes, 's'));
  EXPECT_EQ(SignatureOf(map, fingerprinter), SignatureOf(moved, fingerprinter));
  const auto sketch = [](const TensorMap& of, float scale) {
    const std::string file = FileOf(of, scale);
    testing::BytesSource source(file);
    const Result<Sketch> found = SketchOf(of, source);
    EXPECT_TRUE(found.ok());
    return *found;
  };
  const Sketch base = sketch(map, 1);
  ASSERT_EQ(base.size(), kSketchSamples);
  EXPECT_EQ(sketch(moved, 1), base);
  EXPECT_EQ(SketchDistance(base, base), 0);
  const double near = SketchDistance(base, sketch(map, 1.0001f));
  const double far = SketchDistance(base, sketch(map, 1.1f));
  const double other = SketchDistance(base, sketch(map, -1));
  EXPECT_GT(near, 0);
  EXPECT_LT(near, far);
  EXPECT_LT(far, other);
  EXPECT_GT(other, 28);
  map.tensors[0].shape = {10, 100};
  EXPECT_NE(SignatureOf(map, fingerprinter), SignatureOf(moved, fingerprinter));
}

}  // namespace
}  // namespace varve
