// Checks the history of directories: every list of versions hangs on a name, no number
// is above the last one given, every moment is past, every pin has its version.
//
// That the trees which versions name are whole follows from the rows being sound
// (fsck_rows.h) and their contents being there (fsck_contents.h).
//
// Threads: a free function.
// Errors:  those of the catalog.
#pragma once

#include "fs/core/fsck_context.h"

namespace varve {

Status CheckDirectoryHistory(FsckContext& context);

}  // namespace varve
