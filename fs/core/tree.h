// The tree's rows, typed: inodes, names, links, contents, and new numbers for them.
//
// Reads decode rows of the catalog; writes are added to a Batch, and nothing is
// changed before Apply(). A batch does not see itself: who changes one record
// twice in a batch carries the changed record along.
//
// Threads: mutex() serialises everything that reads rows in order to change them;
//          methods that are marked so need it. NewId() locks itself.
// Errors:  ESTALE for an inode that is gone; kCorrupt for a damaged row.
#pragma once

#include <functional>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "fs/core/content_references.h"
#include "fs/core/dirty_directories.h"
#include "fs/core/keys.h"
#include "fs/core/node_ops.h"
#include "fs/core/records.h"
#include "fs/core/saved_rows.h"
#include "index/catalog.h"
#include "store/base/clock.h"
#include "store/base/mutex.h"
#include "store/chunk/fingerprint.h"

namespace varve {

inline constexpr size_t kNameBytesMax = 255;

struct NamedEntry {
  uint64_t slot = 0;
  DirentRecord record;
};

// One name of an inode.
struct LinkName {
  InodeNumber parent = 0;
  std::string name;
};

class Tree {
 public:
  static constexpr std::string_view kIdsMeta = "reserved_ids";
  static constexpr uint64_t kFirstId = 16;  // below: the root and room for other fixed ones
  // A slot is 59 bits of a name's hash and 4 bits of probe.
  static constexpr uint64_t kProbes = 16;

  Tree(Catalog& catalog, const Fingerprinter& fingerprinter, Clock& clock);

  // Loads the counters; makes the root directory, owned by `uid` and `gid`, if
  // there is none.
  Status Open(uid_t uid, gid_t gid);

  Mutex& mutex() { return mutex_; }
  Catalog& catalog() { return catalog_; }
  struct timespec Now() {
    return clock_.Now();
  }

  // A number that was never used before, for an inode, a content or a staging file.
  Result<uint64_t> NewId();

  Result<InodeRecord> Inode(InodeNumber inode);
  Result<ContentRecord> Content(ContentId content);
  // Of names, what the directory itself has: of a clone's, Clones knows all of them.
  Result<std::optional<NamedEntry>> Find(InodeNumber parent, std::string_view name);
  // ENAMETOOLONG, EEXIST for ".varve", and for what exists.
  Result<uint64_t> SlotForNew(InodeNumber parent, std::string_view name);
  Result<bool> IsEmpty(InodeNumber directory);
  // At most `limit` entries with a slot above `after_slot`, ascending.
  Result<std::vector<NamedEntry>> List(InodeNumber directory, uint64_t after_slot, size_t limit);
  // All names of an inode, also when it has several.
  Result<std::vector<LinkName>> Names(InodeNumber inode, const InodeRecord& record);
  // True when `directory` is `ancestor` or lies below it.
  Result<bool> IsBelow(InodeNumber directory, InodeNumber ancestor);
  // For messages; what was removed is shown by its last name.
  std::string PathOf(InodeNumber inode);

  static void PutInode(InodeNumber inode, const InodeRecord& record, Batch* batch) {
    batch->Put(key::Inode(inode), record.Encode());
  }
  static void PutContent(ContentId content, const ContentRecord& record, Batch* batch) {
    batch->Put(key::Content(content), record.Encode());
  }
  static void PutStageOwner(StageId stage, ContentId content, Batch* batch) {
    std::string value;
    ByteWriter(&value).U64(content);
    batch->Put(key::Stage(stage), std::move(value));
  }
  static void PutName(InodeNumber parent, uint64_t slot, const DirentRecord& record, Batch* batch) {
    batch->Put(key::Dirent(parent, slot), record.Encode());
  }
  // Frees a slot; a colliding entry behind it moves up, so that probing can stop
  // at the first free slot.
  Status RemoveName(InodeNumber parent, uint64_t slot, Batch* batch);

  // Rows of names, inodes, links and attributes need mutex(): what they were is saved
  // for the captures that see it (saved_rows.h).
  Status Apply(const Batch& batch);
  // The same, for what changes nothing that anybody saw: no directory is to be captured.
  Status ApplyUnseen(const Batch& batch);

  // Ends a moment: `batch` names what is captured, `shown` is what the captures shall
  // show otherwise than it is. Needs mutex(). The moment that ended was now().
  Status EndMoment(Batch batch, const std::vector<SavedRows::Shown>& shown);
  Moment now() const { return saved_.now(); }
  // For fsck: Open() does it as well.
  Status LoadMoment() { return saved_.Load(); }
  // Whether the last capture shows `content`, which `inode` has now. Needs mutex().
  Result<bool> IsCaptured(InodeNumber inode, ContentId content) {
    return saved_.ShowsContent(inode, content);
  }
  // What a collection asks.
  ContentReferences& references() { return references_; }
  // Needs mutex().
  DirtyDirectories& dirty() { return dirty_; }

  // For fsck: the slot that a name has unless others with its hash have it, and
  // the number that no used one reaches. A change of it counts from the next Open().
  uint64_t FirstSlot(std::string_view name) const;
  Result<uint64_t> ReservedIds();
  static void PutReservedIds(uint64_t end, Batch* batch);

 private:
  // Dependencies.
  Catalog& catalog_;
  const Fingerprinter& fingerprinter_;
  Clock& clock_;

  // `rows` go along with the batch, and with what it would overwrite.
  Status ApplySaved(Batch rows, const Batch& batch);
  Status ApplyRows(const Batch& batch);

  Mutex mutex_;  // taken by callers
  SavedRows saved_;
  DirtyDirectories dirty_;
  ContentReferences references_;

  Mutex id_mutex_;
  uint64_t next_id_ GUARDED_BY(id_mutex_) = 0;
  uint64_t reserved_ids_ GUARDED_BY(id_mutex_) = 0;
};

}  // namespace varve
