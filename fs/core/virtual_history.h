// `.varve/history`: a directory as it was at each capture.
//
//   history/        v1, v2, …, the names of pins, and `latest`, a link to the newest
//   history/v7/     the captured tree (frozen_nodes.h)
//   mkdir NAME      captures now and pins that version under NAME; rmdir drops the pin
//
// Permission: who may make names in the directory may pin it.
#pragma once

#include <memory>

#include "fs/core/virtual_node.h"

namespace varve {

// `context` outlives it, and has all its parts.
std::shared_ptr<VirtualNode> MakeHistoryDirectory(const VirtualContext& context,
                                                  InodeNumber directory);

}  // namespace varve
