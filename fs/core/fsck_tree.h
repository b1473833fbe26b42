// Checks the directory tree: every name leads to an inode, every inode can be
// reached by its names, and all that is said twice about names agrees.
//
// The directories' entries are the truth. What they do not explain (an inode that
// no entry names) goes to /lost+found; what they name and is gone is put together
// again from its history where that is possible.
//
// Threads: one.
// Errors:  those of the catalog.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "fs/core/fsck_inodes.h"

namespace varve {

class TreeCheck {
 public:
  TreeCheck(FsckContext& context, InodeTable& inodes) : context_(context), inodes_(inodes) {}

  Status Run();

 private:
  enum class Fault : uint8_t {
    kNone,
    kBadName,         // not a name at all
    kNotInDirectory,  // its directory is none
    kTwice,           // the directory has the name already
    kSecondName,      // of a directory, or of the root
    kWrongSlot,
    kNoInode,
    kWrongType,
  };
  struct BadEntry {
    Fault fault = Fault::kNone;
    InodeNumber parent = 0;
    uint64_t slot = 0;
  };
  // Where the scan of one directory is.
  struct Scan {
    InodeNumber parent = 0;
    InodeFacts* directory = nullptr;
    uint64_t slot = 0;               // of the last entry
    uint64_t run_begin = 0;          // of neighbouring slots up to it
    std::vector<std::string> names;  // of the run
  };

  // Gathering.
  Status ScanClones();
  // A clone's subdirectories, also those that have no inode yet.
  Status CountInClones();
  Status ScanEntries();
  void SeeEntry(Scan* scan, uint64_t slot, const DirentRecord& entry);
  bool EntryIsKept(const Scan& scan, uint64_t slot, const DirentRecord& entry, Fault* fault,
                   InodeFacts** child);
  Status ScanOrphans();
  Status ScanLinks();
  Status ScanSymlinks();
  Status ScanXattrs();
  void Walk();
  void WalkUp(InodeFacts* directory);

  // Judging and repairing.
  Status CheckRoot();
  Status FixMissingDirectories();
  Status FixEntries();
  Status FixEntry(const BadEntry& bad);
  Status Replace(InodeNumber parent, uint64_t slot, const DirentRecord& entry);
  Status RemoveEntry(InodeNumber parent, uint64_t slot);
  Status BreakLoops();
  Status JudgeInodes();
  std::string WhyNamesDiffer(const InodeFacts& facts) const;
  Status FixNames(const std::vector<InodeNumber>& inodes);
  Status FixOrphanRow(const InodeFacts& facts);
  Status FixSymlinks();
  Status LoseOriginal(InodeNumber clone);
  Status DropStrayRows();
  // An inode of the kind that the entry says, from what is known about it; nothing
  // when nothing is.
  Result<std::optional<InodeRecord>> Reconstruct(InodeNumber parent, const DirentRecord& entry);
  Status Reconnect(const InodeFacts& facts);
  Result<InodeNumber> LostAndFound();

  FsckContext& context_;
  InodeTable& inodes_;

  std::vector<BadEntry> bad_entries_;
  std::vector<InodeNumber> missing_directories_;
  std::vector<InodeNumber> loops_;
  std::vector<std::pair<InodeNumber, CloneRecord>> clones_;
  // Rows of inodes that are not there.
  std::vector<std::string> stray_rows_;
  InodeNumber lost_and_found_ = 0;
};

}  // namespace varve
