// Decides how the kernel does an inode's I/O, in this one place.
//
// Facts of the kernel (6.9 and later): while an inode is open with a backing file,
// every other open must carry the same backing id, and an open through the page
// cache excludes passthrough. So the first open decides, and the others follow
// until the last one is released.
//
// Threads: a free function.
#pragma once

#include "fs/core/open_file.h"

namespace varve {

struct IoModeFacts {
  bool passthrough_offered = false;  // by the kernel, to this mount
  bool whole_stage = false;          // the staging file holds every byte
  bool writable = false;             // this open may write
  bool privileged_bits = false;      // set-id bits or a file capability
  bool may_be_copy = false;          // it is new, and its bytes may come from another file here
};

inline IoMode DecideIoMode(const OpenFile& file, const IoModeFacts& facts) {
  if (file.mode != IoMode::kUndecided) return file.mode;
  if (!facts.passthrough_offered || !facts.whole_stage) return IoMode::kDaemon;
  // Writes that the kernel passes through do not clear set-id bits and file
  // capabilities; those that reach the daemon do.
  if (facts.writable && facts.privileged_bits) return IoMode::kDaemon;
  // What the kernel passes through has to be in the staging file, so a copy that shares
  // its original's bytes is not.
  if (facts.may_be_copy) return IoMode::kDaemon;
  return IoMode::kPassthrough;
}

}  // namespace varve
