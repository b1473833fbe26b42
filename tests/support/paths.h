// Where a test finds the built program and the files of the source tree.
#pragma once

#include <string>

namespace varve::testing {

// The built `varve`: $VARVE, or the one of the build tree that this test belongs to.
std::string VarveProgram();

// The folder tests/ of the source tree: $VARVE_TESTS_DIR, or the one this was built from.
std::string TestsDir();

}  // namespace varve::testing
