#include "fs/core/inode_stat.h"

namespace varve {

struct stat StatOf(uint64_t number, const InodeRecord& record) {
  struct stat stat {};
  stat.st_ino = number;
  stat.st_mode = record.mode;
  stat.st_nlink = record.links;
  stat.st_uid = record.uid;
  stat.st_gid = record.gid;
  stat.st_rdev = record.device;
  stat.st_size = static_cast<off_t>(record.size_bytes);
  stat.st_blksize = 128 << 10;
  stat.st_blocks = static_cast<blkcnt_t>((record.size_bytes - record.hole_bytes + 511) / 512);
  stat.st_atim = record.access_time;
  stat.st_mtim = record.modify_time;
  stat.st_ctim = record.change_time;
  if (S_ISDIR(record.mode)) stat.st_size = 4096;
  if (!S_ISREG(record.mode)) stat.st_blocks = S_ISDIR(record.mode) ? 8 : 0;
  return stat;
}

}  // namespace varve
