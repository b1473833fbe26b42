// The directory `.varve` itself: a table of what is in it.
//
// Threads: a free function.
#pragma once

#include <memory>
#include <string_view>

#include "fs/core/virtual_node.h"

namespace varve {

inline constexpr std::string_view kControlName = ".varve";

// The `.varve` of a live directory. `context` outlives it.
std::shared_ptr<VirtualNode> MakeControlDirectory(const VirtualContext& context,
                                                  InodeNumber directory);

}  // namespace varve
