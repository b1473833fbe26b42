// A Disk in memory that fails when it is told to, and forgets what was not synced.
//
// The fault model, that is, what tests on it prove and what they do not:
//
// * A power cut leaves of each file, for every 512-byte sector that changed since
//   the last SyncData, the old or the new bytes, at random and each for itself. A
//   sector is never torn. The size is the old one, the new one, or one between
//   them. What a hole or a shrunk file uncovers reads as zeros.
// * Changes of names (create, remove, rename, make directory) that no
//   SyncDirectory covered are kept or lost, each whole: a rename is never half
//   done. Either a prefix of all of them is kept, as a journal does it, or each
//   is kept for itself, but none without the earlier ones of the same names. A
//   synced file whose name is lost is lost. SyncDirectory covers the changes in
//   that directory, not the directory's own name in its parent.
// * Modes and times are not subject to a power cut.
// * A SyncData that fails marks what was dirty as clean, as Linux does: a later
//   SyncData succeeds and does not make those sectors durable.
// * A WriteAt that fails may have written the first part of its bytes.
// * The call at which the machine crashes had no effect, a part of it, or all of
//   it, but its caller never learns. Every later call fails with kIo.
// * The death of the process alone loses nothing but open files and leases.
// * Not simulated: reads that return wrong bytes, sectors that go bad later,
//   disks that lie about a flush. Direct I/O must be aligned, but is buffered.
// * A file that is opened for writing breaks its lease and does not wait for the
//   lease's owner; the kernel would.
//
// After PowerCut() or ProcessDeath() the SimDisk is the disk that the next
// process finds. Files opened before are dead: they fail with kIo. So a test
// destroys the crashed core, calls one of the two, and opens the store again.
//
// Threads: as Disk; PowerCut(), ProcessDeath() and Copy() only when no call is
//          running. A SimDisk outlives the files that it opened.
// Errors:  those of Linux, the path in the context.
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "store/base/disk.h"
#include "store/base/mutex.h"
#include "tests/support/sim_tree.h"

namespace varve::testing {

class SimDisk final : public Disk {
 public:
  SimDisk();
  ~SimDisk() override;

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

  // Calls so far. Every call that can fail counts, those that change something
  // (and syncs) count as changes too; LeaseHolds(), DropLease(), PowerEpoch() and
  // closing a file never fail and do not count.
  uint64_t call_count() const;
  uint64_t change_count() const;

  // Call number `n`, the first is 0, fails once with `os_errno`. Several may be set.
  void FailCall(uint64_t n, int os_errno);
  // The same, counted in changes.
  void FailChange(uint64_t n, int os_errno);
  // Runs once, in the middle of the next SyncData: what other threads do meanwhile.
  void DuringNextSync(std::function<void()> what);
  // Calls that failed because of that.
  uint64_t fault_count() const;
  // The machine crashes at change number `n`.
  void CrashAt(uint64_t n);
  bool crashed() const;
  // How much the files may take; a file takes whole pages of 4096 bytes.
  void SetCapacity(uint64_t bytes);
  uint64_t used_bytes() const;

  // What is set to fail is forgotten with either; the counts go on.
  void PowerCut(uint64_t seed);
  void ProcessDeath();
  // The disk with what is synced and what is not, but without open files and
  // faults: several outcomes can be drawn from one state.
  std::unique_ptr<SimDisk> Copy() const;

 private:
  friend class SimFile;

  enum class Kind { kQuery, kChange, kWrite };
  // Whether a call happens, and what its caller is told.
  struct Verdict {
    bool happens = true;
    // Of WriteAt's bytes, 0 to 256 of 256.
    unsigned part = 256;
    Status told;
  };

  Verdict Admit(Kind kind, const std::string& what) REQUIRES(mutex_);
  // Room for `pages` more pages?
  bool HasRoom(uint64_t pages) const REQUIRES(mutex_);
  void Forget() REQUIRES(mutex_);
  void RunDuringSync();

  // One lock for the whole disk; Files take it too.
  mutable Mutex mutex_;
  SimTree tree_ GUARDED_BY(mutex_);
  uint64_t calls_ GUARDED_BY(mutex_) = 0;
  uint64_t changes_ GUARDED_BY(mutex_) = 0;
  std::map<uint64_t, int> failing_ GUARDED_BY(mutex_);
  uint64_t faults_ GUARDED_BY(mutex_) = 0;
  std::map<uint64_t, int> failing_changes_ GUARDED_BY(mutex_);
  std::function<void()> during_sync_ GUARDED_BY(mutex_);
  uint64_t crash_at_ GUARDED_BY(mutex_);
  bool crashed_ GUARDED_BY(mutex_) = false;
  uint64_t capacity_pages_ GUARDED_BY(mutex_);
  // Files of an earlier process or boot are dead.
  uint64_t process_ GUARDED_BY(mutex_) = 0;
  uint64_t boot_ GUARDED_BY(mutex_) = 0;
};

}  // namespace varve::testing
