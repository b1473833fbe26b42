// Any bytes as a model file: no crash, bounded memory, and a map that keeps its promises:
// ranges lie in the file, in their order, and are as long as the shapes ask for.
#include "store/base/check.h"
#include "store/format/map_builder.h"
#include "store/format/tensor_map.h"
#include "store/format/tensor_regions.h"
#include "tests/support/bytes_source.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  varve::testing::BytesSource source(std::string(reinterpret_cast<const char*>(data), size));
  const auto map = varve::ReadTensorMap(source);
  CHECK(map.ok());
  uint64_t begin = 0;
  for (const varve::Tensor& tensor : map->tensors) {
    CHECK(begin <= tensor.begin_bytes && tensor.begin_bytes <= tensor.end_bytes);
    CHECK(tensor.end_bytes <= size);
    begin = tensor.begin_bytes;
    if (tensor.dtype == varve::DType::kOpaque || !tensor.strides.empty()) continue;
    CHECK(varve::ElementCount(tensor.shape).value() * varve::ElementBytes(tensor.dtype) ==
          tensor.end_bytes - tensor.begin_bytes);
  }
  uint64_t end = 0;
  for (const varve::CutRegion& region : varve::RegionsOf(*map)) {
    CHECK(region.begin_bytes >= end && region.end_bytes > region.begin_bytes);
    end = region.end_bytes;
  }
  return 0;
}
