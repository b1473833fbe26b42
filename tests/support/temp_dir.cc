#include "tests/support/temp_dir.h"

#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <system_error>

namespace varve::testing {

TempDir::TempDir(const std::string& parent) {
  const char* base = std::getenv("TMPDIR");  // NOLINT(concurrency-mt-unsafe): nobody sets it
  path_ = !parent.empty() ? parent : base != nullptr && *base != '\0' ? base : "/tmp";
  path_ += "/varve-test-XXXXXX";
  if (::mkdtemp(path_.data()) == nullptr) {
    std::perror(path_.c_str());
    std::abort();
  }
}

TempDir::~TempDir() {
  // Whatever cannot be removed (a mount that is still there) is better left than forced.
  std::error_code ignored;
  std::filesystem::remove_all(path_, ignored);
}

}  // namespace varve::testing
