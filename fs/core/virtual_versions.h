// `.varve/versions`: every captured version of every file of a directory.
//
//   versions/            names that have versions, removed ones too
//   versions/FILE/       0001, 0002, … and `latest`, a link to the newest number
//   versions/FILE/0001   the file as it was; mtime and ctime are the time of capture
//
// Permission: a version opens only for whom its mode at capture and the live path's
//             mode now both allow; when the name is gone, for its owner and root.
#pragma once

#include <memory>

#include "fs/core/virtual_node.h"

namespace varve {

// `context` outlives it.
std::shared_ptr<VirtualNode> MakeVersionsDirectory(const VirtualContext& context,
                                                   InodeNumber directory);

}  // namespace varve
