// Any bytes as a safetensors file: no crash, no more memory than a few MiB, and
// what is called whole is as long as its own table says.
#include "store/base/check.h"
#include "store/format/completeness.h"
#include "store/format/safetensors.h"
#include "tests/support/bytes_source.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  varve::testing::BytesSource source(std::string(reinterpret_cast<const char*>(data), size));
  const auto found = varve::CheckSafetensors(source);
  CHECK(found.ok());
  if (*found && (*found)->complete) {
    const uint64_t header_bytes = varve::ByteReader(varve::ByteView(data, size)).U64();
    const auto layout = varve::ReadSafetensorsLayout(source, header_bytes);
    CHECK(layout.ok() && layout->well_formed);
    CHECK(8 + header_bytes + layout->data_bytes == size);
  }
  return 0;
}
