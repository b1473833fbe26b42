#include "store/base/check.h"

#include <cstdio>
#include <cstdlib>

namespace varve {

void CheckFailed(const char* condition, const char* file, int line) noexcept {
  std::fprintf(stderr, "varve: broken invariant: %s (%s:%d)\n", condition, file, line);
  std::abort();
}

}  // namespace varve
