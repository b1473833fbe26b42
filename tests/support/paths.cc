#include "tests/support/paths.h"

#include <cstdlib>

namespace varve::testing {
namespace {

std::string FromEnvironment(const char* name, const char* otherwise) {
  const char* value = std::getenv(name);
  return value != nullptr && *value != '\0' ? value : otherwise;
}

}  // namespace

std::string VarveProgram() { return FromEnvironment("VARVE", VARVE_DEFAULT_PROGRAM); }

std::string TestsDir() { return FromEnvironment("VARVE_TESTS_DIR", VARVE_DEFAULT_TESTS_DIR); }

}  // namespace varve::testing
