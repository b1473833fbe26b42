// Any bytes as a zip of torch: no crash, no loop without end, and a directory that
// is found lies in the file.
#include "store/base/check.h"
#include "store/format/completeness.h"
#include "store/format/zip.h"
#include "tests/support/bytes_source.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  varve::testing::BytesSource source(std::string(reinterpret_cast<const char*>(data), size));
  const auto directory = varve::FindZipDirectory(source);
  CHECK(directory.ok());
  if (*directory) CHECK((*directory)->offset_bytes + (*directory)->size_bytes <= size);
  const auto found = varve::CheckTorchZip(source);
  CHECK(found.ok());
  if (*found && (*found)->complete) CHECK(directory->has_value());
  return 0;
}
