// Which instructions a loop may use. Everything is built for the distribution's
// baseline; what is faster is chosen at run time and gives the same bytes.
//
// Threads: pure functions.
#pragma once

#include <cstdint>

#if defined(__x86_64__)
#define VARVE_X86 1
#endif

// A function that gains from shifts by any number, called seldom enough to be chosen each time.
// Clang has no clones of what is flattened; there the portable code has to do.
#if defined(VARVE_X86) && !defined(__clang__)
#define VARVE_BMI2 __attribute__((target_clones("bmi2", "default"), flatten))
#else
#define VARVE_BMI2
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
