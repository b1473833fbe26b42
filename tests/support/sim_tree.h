// The names of a simulated disk: what the page cache has, what the disk has, and
// the changes between the two in the order in which they were made.
//
// Threads: none of its own; SimDisk's mutex guards it.
// Errors:  Status::Errno, without context.
#pragma once

#include <sys/stat.h>

#include <cstdint>
#include <ctime>
#include <deque>
#include <map>
#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "store/base/result.h"
#include "tests/support/random.h"
#include "tests/support/sim_content.h"

namespace varve::testing {

struct SimInode {
  using Names = std::map<std::string, std::shared_ptr<SimInode>>;

  uint64_t number = 0;
  bool directory = false;
  // Of a file.
  SimContent content;
  bool named = true;
  unsigned openers = 0;
  unsigned writers = 0;
  unsigned leases = 0;
  bool lease_broken = false;
  // Of a directory.
  Names names;
  Names durable_names;

  struct timespec accessed = {};
  struct timespec modified = {};
  struct timespec changed = {};

  struct stat Stat() const;
};
using SimInodePointer = std::shared_ptr<SimInode>;

class SimTree {
 public:
  // Where a path leads: the directory, the last name, and what has that name now.
  struct Place {
    SimInodePointer directory;
    std::string name;
    SimInodePointer inode;  // null if nothing has it
  };

  SimTree();

  // Fails with ENOENT, ENOTDIR, or EINVAL for a path that breaks Disk's rules.
  // "." gives the root, without directory and name.
  Result<Place> Find(const std::string& path) const;
  Result<SimInodePointer> FindDirectory(const std::string& path) const;

  // REQUIRES: nothing has the name.
  SimInodePointer Create(const Place& place, bool directory);
  // Fails with ENOENT, ENOTEMPTY, or EBUSY for the root.
  Status Remove(const Place& place);
  Status Rename(const Place& from, const Place& to);
  void SyncDirectory(const SimInodePointer& directory);

  // To be called when the last opener of a file has gone.
  void Closed(const SimInode& inode);
  void AddPages(int64_t pages) { used_pages_ += static_cast<uint64_t>(pages); }
  // Of all files that have a name or an opener.
  uint64_t used_pages() const { return used_pages_; }
  // Moves on with each call, so that no two changes have one time.
  struct timespec Now();

  void PowerCut(Random& random);
  void ProcessDeath();
  SimTree Copy() const;

 private:
  struct Binding {
    SimInodePointer directory;
    std::string name;
    SimInodePointer inode;  // null: the name goes
  };
  // Happens whole or not at all.
  using Change = std::vector<Binding>;
  using Key = std::pair<const SimInode*, std::string>;

  void Apply(Change change);
  static void MakeDurable(const Change& change);
  void Unname(SimInode& inode);
  void SurvivePowerCut(SimInode& inode, Random& random);
  void Revive(SimInode& inode);

  SimInodePointer root_;
  uint64_t last_number_ = 1;
  uint64_t used_pages_ = 0;
  int64_t ticks_ = 0;
  std::deque<Change> pending_;
};

}  // namespace varve::testing
