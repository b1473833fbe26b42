// The program's version, as `varve --version` and the status say it.
#pragma once

#include <string_view>

namespace varve {

inline constexpr std::string_view kVersion = "0.1.0";

}  // namespace varve
