// Room for one more pack, allocated ahead: DIRECTORY/reserve.
//
// On a disk that others have filled a collection needs room before it can free any: a base
// journal, and the chunks that it moves. What is merely free would be taken by whoever
// writes next, so the reserve never goes back to the disk: its file becomes the pack.
//
// Threads: belongs to whoever holds the writer's lock.
// Units:   bytes.
#pragma once

#include <memory>
#include <string>

#include "store/base/disk.h"

namespace varve {

class PackReserve {
 public:
  PackReserve(Disk& disk, const std::string& directory)
      : disk_(disk), directory_(directory), path_(directory + "/reserve") {}

  // Allocates what is missing of `bytes`, as far as it is free. True when all is there.
  bool Fill(uint64_t bytes);
  // Gives the room back; false when there was none.
  bool Drop();
  // 0: there is none.
  uint64_t bytes() const { return bytes_; }
  // Gives the file, with all that is allocated for it, the name `path`, which has to be free.
  // REQUIRES: bytes() > 0. The reserve is empty then.
  Result<std::unique_ptr<File>> BecomeFile(const std::string& path, OpenOptions options);

 private:
  void Grow(uint64_t bytes);

  Disk& disk_;
  const std::string directory_;
  const std::string path_;
  uint64_t bytes_ = 0;
};

}  // namespace varve
