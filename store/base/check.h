// CHECK(condition): an invariant that holds in every build. A broken invariant
// prints the condition and its place and aborts: a filesystem that goes on after
// one would write what nobody can explain.
#pragma once

namespace varve {

[[noreturn]] void CheckFailed(const char* condition, const char* file, int line) noexcept;

}  // namespace varve

#define CHECK(condition) \
  (static_cast<bool>(condition) ? void(0) : ::varve::CheckFailed(#condition, __FILE__, __LINE__))
