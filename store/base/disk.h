// The one seam to the operating system's files: everything that a store keeps,
// except LMDB's own environment, goes through a Disk.
//
// A Disk is one directory tree. Paths are relative to it, use '/', and never
// contain ".."; "." is the tree's own directory. The real one is PosixDisk
// (posix_disk.h); tests use a simulated one that can fail the n-th call and
// forget what was not flushed.
//
// Threads:    all methods of both classes may be called concurrently.
// Errors:     Status::Errno of the failing call, the path in its context.
//             kNoSpace changes nothing that the caller can see, except as
//             WriteAt says.
// Units:      bytes.
// Durability: SyncData makes a file's content and size survive a power cut;
//             that its *name* survives needs SyncDirectory of its directory.
#pragma once

#include <sys/stat.h>
#include <sys/statvfs.h>

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "store/base/bytes.h"
#include "store/base/result.h"

namespace varve {

class File {
 public:
  virtual ~File() = default;

  // Reads until `out` is full or the end of the file; returns how much.
  virtual Result<size_t> ReadAt(uint64_t offset, MutableBytes out) = 0;
  // Writes all of `bytes`, or fails; after a failure, kNoSpace too, any part of the
  // range may be written.
  virtual Status WriteAt(uint64_t offset, ByteView bytes) = 0;
  virtual Status Truncate(uint64_t size) = 0;
  // `mode` is fallocate(2)'s.
  virtual Status Allocate(int mode, uint64_t offset, uint64_t size) = 0;
  // `whence` is SEEK_DATA or SEEK_HOLE. Fails with ENXIO as lseek(2) does.
  virtual Result<uint64_t> Seek(uint64_t offset, int whence) = 0;
  // Copies inside the kernel where it can, reflinking if the disk does that.
  // `source` belongs to the same Disk. Returns how much, short at its end.
  virtual Result<uint64_t> CopyFrom(File& source, uint64_t source_offset, uint64_t offset,
                                    uint64_t size) = 0;
  virtual Status SyncData() = 0;
  virtual Result<struct stat> Stat() = 0;
  // Entries may be UTIME_NOW or UTIME_OMIT: [0] access, [1] modification.
  virtual Status SetTimes(const struct timespec times[2]) = 0;
  // Takes a read lease: succeeds only while nobody, in any process, has the file
  // open for writing or mapped shared and writable. Fails with kBusy otherwise,
  // with kUnsupported where the disk has no leases. REQUIRES: opened kRead.
  virtual Status AcquireLease() = 0;
  // True while the lease is held and nobody waits for it to go.
  virtual bool LeaseHolds() = 0;
  virtual void DropLease() = 0;
  // Whether nobody else, in any process, has the file open or mapped at this moment.
  // False also where that cannot be known.
  virtual bool IsUsedAlone() = 0;
  // For the kernel's passthrough, splice and io_uring; -1 if there is none.
  virtual int descriptor() const { return -1; }
};

enum class OpenMode {
  kRead,       // must exist
  kReadWrite,  // must exist
  kCreate,     // read-write, created if missing
  kCreateNew,  // read-write, must not exist
};

struct OpenOptions {
  bool direct = false;  // O_DIRECT; silently buffered where unsupported
};

class Disk {
 public:
  virtual ~Disk() = default;

  virtual Result<std::unique_ptr<File>> Open(const std::string& path, OpenMode mode,
                                             OpenOptions options = {}) = 0;
  // A file or an empty directory.
  virtual Status Remove(const std::string& path) = 0;
  // Replaces a file that has the name `to`.
  virtual Status Rename(const std::string& from, const std::string& to) = 0;
  // One level; succeeds if it is there already. Mode 0700.
  virtual Status MakeDirectory(const std::string& path) = 0;
  // Names in a directory, "." and ".." left out, in any order.
  virtual Result<std::vector<std::string>> List(const std::string& path) = 0;
  virtual Result<struct stat> Stat(const std::string& path) = 0;
  virtual Status SyncDirectory(const std::string& path) = 0;
  virtual Result<struct statvfs> Space() = 0;
  // Identifies "this boot of this machine with this disk mounted": equal values
  // mean that nothing written through the page cache was lost in between.
  virtual std::string PowerEpoch() = 0;
};

// Small whole files. ReadFile fails with kInvalid beyond `max_bytes`;
// ReplaceFile is atomic and durable (`path`.new, sync, rename, sync); calls for
// one path come one after the other.
Result<std::string> ReadFile(Disk& disk, const std::string& path, size_t max_bytes);
Status ReplaceFile(Disk& disk, const std::string& path, ByteView content);

}  // namespace varve
