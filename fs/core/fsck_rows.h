// The first check: every row of the index is one that this program could have written.
//
// Threads: free functions.
// Format:  docs/FORMAT.md, "Index".
#pragma once

#include <string>
#include <string_view>

#include "fs/core/fsck_context.h"

namespace varve {

// True when the key has the form that its table asks for, so that keys.h may decode it.
bool KeyIsSound(std::string_view key);
bool RowIsSound(std::string_view key, std::string_view row);
// "inode 17", "attribute \"user.loss\" of inode 17", for messages.
std::string DescribeKey(std::string_view key);

// Drops rows that are not sound, and sets the counter of numbers above all that
// are in use.
Status CheckRows(FsckContext& context);

}  // namespace varve
