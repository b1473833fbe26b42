// The values of the index: what a row of each table says.
//
// Every record starts with one byte, the version of its layout, so that a field
// can be added without rewriting a store.
//
// Threads: values.
// Errors:  Decode fails with kCorrupt on bytes that Encode did not write.
// Format:  docs/FORMAT.md, "Index".
#pragma once

#include <sys/stat.h>

#include <cstdint>
#include <ctime>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "fs/core/keys.h"
#include "store/base/result.h"
#include "store/format/completeness.h"

namespace varve {

struct InodeRecord {
  mode_t mode = 0;
  uid_t uid = 0;
  gid_t gid = 0;
  uint32_t links = 0;
  dev_t device = 0;
  uint64_t size_bytes = 0;
  uint64_t hole_bytes = 0;  // of size_bytes; what `du` does not count
  struct timespec access_time {};
  struct timespec modify_time {};
  struct timespec change_time {};
  struct timespec birth_time {};
  ContentId content = 0;   // regular files
  HistoryId history = 0;   // directories
  InodeNumber parent = 0;  // of directories; of files, where they were linked last
  std::string name;        // in that parent; for messages, and to fall back after a power cut

  std::string Encode() const;
  static Result<InodeRecord> Decode(std::string_view bytes);
};

// A clone's directory is the entries it has, and behind them those of its original, slot by
// slot (clones.h). So it can have an entry that says that there is nothing, and one that
// names an inode as it was at an earlier moment, which gets one of its own when it is looked
// up.
struct DirentRecord {
  InodeNumber inode = 0;
  mode_t type = 0;  // S_IFMT bits; 0: nothing is there
  std::string name;
  Moment moment = 0;  // of the inode; 0: it is one of the present tree

  bool gone() const { return type == 0; }

  std::string Encode() const;
  static Result<DirentRecord> Decode(std::string_view bytes);
};

// A content's life: live (staged, being written) -> captured (staged, named by a
// version, waits for its digest) -> stored (has a recipe). A stored one may keep
// its staging file as a hot copy.
struct ContentRecord {
  bool captured = false;
  bool stored = false;   // the recipe is in the index, its chunks are durable
  bool durable = false;  // survives a power cut: stored, or its staging file was synced
  bool overlay = false;  // the staging file holds only the extents, the rest is `base`
  bool torn = false;     // a power cut left nothing of it
  bool shared = false;   // a name that its inode lost lists it too: it goes on no more
  bool complete = true;  // as its format defines it; plain content always is
  bool purged = false;   // nothing is left of it, because somebody wanted that
  ContentFormat format = ContentFormat::kPlain;
  StageId stage = 0;
  ContentId base = 0;       // what it was changed from; of an overlay, what its bytes lie upon
  ContentId replaced = 0;   // by an overlay: that need not be its base
  uint64_t size_bytes = 0;  // authoritative when captured or an overlay
  InodeNumber inode = 0;    // whose content it is, or was
  std::string incomplete_reason;

  // What a power cut leaves, if it comes before this one is durable.
  ContentId falls_back_to() const { return overlay ? replaced : base; }

  std::string Encode() const;
  static Result<ContentRecord> Decode(std::string_view bytes);
};

struct VersionRecord {
  ContentId content = 0;
  InodeNumber inode = 0;
  uint64_t size_bytes = 0;  // at capture; what counts is its content's
  struct timespec capture_time {};
  struct timespec modify_time {};
  mode_t mode = 0;  // at capture
  uid_t uid = 0;
  gid_t gid = 0;

  std::string Encode() const;
  static Result<VersionRecord> Decode(std::string_view bytes);
};

// The counters of one name in one directory's history.
struct NameRecord {
  VersionNumber last_version = 0;  // the highest number ever given
  HistoryId child_history = 0;     // of the directory that had this name last
  // Versions of the directories that had this name: what they hang on, 0 for none yet,
  // and the highest number ever given.
  HistoryId directory_versions = 0;
  VersionNumber last_directory_version = 0;

  // Says nothing: needs no row.
  bool empty() const {
    return last_version == 0 && child_history == 0 && last_directory_version == 0;
  }
  std::string Encode() const;
  static Result<NameRecord> Decode(std::string_view bytes);
};

// Why a directory was captured.
enum class CaptureReason : uint8_t {
  kQuiet = 0,
  kRenamed = 1,
  kPinned = 2,
  kReadOnly = 3,
  kCloned = 4,  // it was, or it is a clone
};

// A version of a directory is a point in the tree's history and nothing else: what the
// tree was like at that moment is read from saved rows (past_tree.h).
struct DirectoryVersionRecord {
  Moment moment = 0;
  InodeNumber inode = 0;  // of the directory
  struct timespec capture_time {};
  CaptureReason reason = CaptureReason::kQuiet;

  std::string Encode() const;
  static Result<DirectoryVersionRecord> Decode(std::string_view bytes);
};

// An inode as a moment shows it.
struct PastInode {
  InodeNumber inode = 0;
  Moment moment = 0;
};

// What a directory is a clone of.
struct CloneRecord {
  PastInode original;
  // Directories that its own entries with a moment come from: they lay over the original.
  std::vector<PastInode> layers;
  struct timespec clone_time {};
  std::string path;  // of what was cloned; of directories below the clone empty

  std::string Encode() const;
  static Result<CloneRecord> Decode(std::string_view bytes);
};

// A row as it was; no row: there was none.
struct SavedRow {
  std::optional<std::string> row;

  std::string Encode() const;
  static Result<SavedRow> Decode(std::string_view bytes);
};

}  // namespace varve
