// Keeps what the tree's rows were like at captures of directories.
//
// Time is counted in moments: a capture ends one and begins the next. When a row of
// the tree (directory entry, inode, symbolic link, attribute, clone) changes for the first
// time in a moment, what it was is saved in the same batch, under the row's key and
// the moment until which it was so. What was not there is saved as well. So
//
//   the row of K at the capture of moment S
//     = the saved row of K with the smallest `until` above S, else the row as it is
//
// and a capture costs nothing by itself, a changed row one saved row per moment. What
// hangs on an inode that was made after the last capture is not saved: no capture
// leads to it.
//
// Threads: needs Tree::mutex().
// Errors:  those of the catalog.
// Format:  docs/FORMAT.md, "Rows of the index".
#pragma once

#include <string>
#include <unordered_set>
#include <vector>

#include "fs/core/keys.h"
#include "fs/core/records.h"
#include "index/catalog.h"

namespace varve {

class SavedRows {
 public:
  static constexpr std::string_view kMomentMeta = "moment";

  // `catalog` outlives it.
  explicit SavedRows(Catalog& catalog) : catalog_(catalog) {}

  Status Load();

  // The present moment: what the next capture ends.
  Moment now() const { return now_; }

  // Adds to `saved` what `batch`, which is about to be applied, would overwrite.
  Status Append(const Batch& batch, Batch* saved);
  // That batch was not applied.
  void Failed();

  // Whether the last capture shows `content`, which `inode` has now, as the file's.
  Result<bool> ShowsContent(InodeNumber inode, ContentId content);

  // A row that the capture shall show otherwise than it is.
  struct Shown {
    std::string key;
    std::string row;
  };
  // Ends the present moment. `next_inode`: no inode has it, or one above, yet. Call
  // Ended() once the batch is applied.
  Status AppendEnd(InodeNumber next_inode, const std::vector<Shown>& shown, Batch* batch);
  void Ended(InodeNumber next_inode, const std::vector<Shown>& shown);

 private:
  // A miss of what is remembered costs a lookup; so much memory it may cost not to.
  static constexpr size_t kRememberedMax = 1 << 18;

  Result<bool> IsSaved(const std::string& key);
  void Remember(const std::string& key);

  Catalog& catalog_;
  Moment now_ = 1;
  InodeNumber first_new_ = 0;              // it and what is above were made in this moment
  std::unordered_set<std::string> saved_;  // in this moment
  bool saved_is_all_ = false;              // a key that is not in it was not saved
};

}  // namespace varve
