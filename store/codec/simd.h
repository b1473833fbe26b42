// Which instructions a loop may use. Everything is built for the distribution's
// baseline; what is faster is chosen at run time and gives the same bytes.
//
// Threads: pure functions.
#pragma once

#include <cstdint>

#if defined(__x86_64__)
#define VARVE_X86 1
#endif

namespace varve {

enum class Simd : uint8_t { kPortable, kAvx2 };

// The best that this processor has.
inline Simd BestSimd() {
#ifdef VARVE_X86
  // Every processor with these two has lzcnt, which clang 14 cannot ask for.
  static const bool avx2 = __builtin_cpu_supports("avx2") && __builtin_cpu_supports("bmi2");
  return avx2 ? Simd::kAvx2 : Simd::kPortable;
#else
  return Simd::kPortable;
#endif
}

}  // namespace varve
