// Finds the newest complete checkpoint below a directory, for `.varve/latest`.
//
// A checkpoint is
//   - a file directly in the directory, of a recognised format, captured and whole; or
//   - a directory one or two levels below it that holds such files directly and
//     nothing unfinished: no recognised file that is not whole, and no file that is
//     named like a model and not captured yet, no shard that an index file names and
//     that is not there; or a distributed checkpoint with its `.metadata`.
//
// The newest is the one whose recognised files were modified last.
//
// Cost: bounded, however large the tree: it looks at no more than kNamesMax names
//       altogether, the directories that changed last first. Where there are more,
//       those that changed longest ago are not looked at.
// Threads: a free function.
#pragma once

#include <optional>
#include <string>

#include "fs/core/virtual_node.h"

namespace varve {

inline constexpr size_t kNamesMax = 20'000;

// Its path below `directory`: "model.safetensors", "checkpoint-500",
// "run1/checkpoint-500". Nothing when there is none.
Result<std::optional<std::string>> NewestCheckpoint(const VirtualContext& context,
                                                    InodeNumber directory);

}  // namespace varve
