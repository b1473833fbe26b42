// STORE/superblock: says that a directory is a store, of which format, and keeps
// the secret that chunks are named under. Written once, never changed.
//
// Without the secret nothing in the packs can be verified, and it is nowhere else:
// so STORE/superblock.copy holds the same bytes. A mount makes the copy if it is
// missing; fsck restores either from the other.
//
// Errors: Open and Read fail with kInvalid and a sentence for the user when the
//         directory is something else, or a store of a later format; kCorrupt when
//         damaged or lost.
// Format: docs/FORMAT.md, "Superblock".
#pragma once

#include <string>

#include "store/base/disk.h"

namespace varve {

inline constexpr uint32_t kFormatVersion = 1;

struct Superblock {
  uint32_t format_version = kFormatVersion;
  std::string secret;
  int64_t created_s = 0;  // Unix time

  std::string Encode() const;
  // `name` is what messages call the store.
  static Result<Superblock> Decode(std::string_view bytes, const std::string& name);
};

// Before anything is written: a directory that holds something else is refused.
Status CheckIsStoreOrEmpty(Disk& disk, const std::string& name);

// Reads it, or makes one if the directory is empty but for `lost+found` and a lock.
Result<Superblock> OpenSuperblock(Disk& disk, const std::string& name, int64_t now_s);

// For fsck: reads one of the two, and writes both.
inline constexpr char kSuperblockPath[] = "superblock";
inline constexpr char kSuperblockCopyPath[] = "superblock.copy";
// Fails with kNotFound if the file is not there.
Result<Superblock> ReadSuperblock(Disk& disk, const std::string& path, const std::string& name);
Status WriteSuperblock(Disk& disk, const Superblock& superblock);

}  // namespace varve
