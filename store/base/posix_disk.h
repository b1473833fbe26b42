// The real Disk: a directory of the machine's filesystem.
//
// Everything is relative to a descriptor of that directory, so it may be renamed
// or hidden by another mount meanwhile. Neither the last component of a path nor
// the directory itself is followed through a symbolic link.
//
// Leases: a lease that is broken is announced by SIGURG, whose default action is
// to be ignored. (The kernel's own choice, SIGIO, would end the process.) Nobody
// needs the signal: LeaseHolds() asks the kernel.
//
// Threads: as Disk.
// Errors:  as Disk. An interrupted call is repeated.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "store/base/disk.h"
#include "store/base/unique_fd.h"

namespace varve {

class PosixDisk final : public Disk {
 public:
  // `path` is an existing directory. Fails with kNotFound or kErrno (ENOTDIR).
  static Result<std::unique_ptr<PosixDisk>> Open(const std::string& path);

  Result<std::unique_ptr<File>> Open(const std::string& path, OpenMode mode,
                                     OpenOptions options = {}) override;
  Status Remove(const std::string& path) override;
  Status Rename(const std::string& from, const std::string& to) override;
  Status MakeDirectory(const std::string& path) override;
  Result<std::vector<std::string>> List(const std::string& path) override;
  Result<struct stat> Stat(const std::string& path) override;
  Status SyncDirectory(const std::string& path) override;
  Result<struct statvfs> Space() override;
  std::string PowerEpoch() override;

  // Of the directory; valid as long as the PosixDisk.
  int descriptor() const { return root_.get(); }

 private:
  explicit PosixDisk(UniqueFd root) : root_(std::move(root)) {}

  Result<UniqueFd> OpenDirectory(const std::string& path);

  const UniqueFd root_;
};

}  // namespace varve
