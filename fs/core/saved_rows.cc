#include "fs/core/saved_rows.h"

#include "store/base/bytes.h"

namespace varve {
Status SavedRows::Load() {
  ASSIGN_OR_RETURN(const std::optional<std::string> row, catalog_.Get(key::Meta(kMomentMeta)));
  saved_.clear();
  saved_is_all_ = false;
  now_ = 1;
  first_new_ = 0;
  if (!row) return Status();
  ByteReader in(*row);
  now_ = in.U64();
  first_new_ = in.U64();
  if (!in.Done()) return Status(Code::kCorrupt, "the index's counter of captures is damaged");
  return Status();
}

Result<bool> SavedRows::IsSaved(const std::string& key) {
  if (saved_.contains(key)) return true;
  if (saved_is_all_) return false;
  ASSIGN_OR_RETURN(const std::optional<std::string> row, catalog_.Get(key::Saved(key, now_)));
  return row.has_value();
}

void SavedRows::Remember(const std::string& key) {
  if (saved_.size() >= kRememberedMax) {
    saved_.clear();
    saved_is_all_ = false;
  }
  saved_.insert(key);
}

Status SavedRows::Append(const Batch& batch, Batch* saved) {
  if (first_new_ == 0) return Status();  // no capture yet
  for (const Batch::Change& change : batch.changes()) {
    if (!key::IsOfTree(change.key[0]) || key::Id(change.key) >= first_new_) continue;
    ASSIGN_OR_RETURN(const bool done, IsSaved(change.key));
    if (done) continue;
    SavedRow before;
    ASSIGN_OR_RETURN(before.row, catalog_.Get(change.key));
    if (before.row == change.value) continue;
    if (change.key[0] == key::kInode && before.row) {
      // What had no name then, no capture leads to; and its content goes with it.
      ASSIGN_OR_RETURN(const InodeRecord record, InodeRecord::Decode(*before.row));
      if (record.links == 0) {
        Remember(change.key);
        continue;
      }
    }
    saved->Put(key::Saved(change.key, now_), before.Encode());
    Remember(change.key);
  }
  return Status();
}

void SavedRows::Failed() {
  saved_.clear();
  saved_is_all_ = false;
}

Result<bool> SavedRows::ShowsContent(InodeNumber inode, ContentId content) {
  if (inode >= first_new_) return false;
  ASSIGN_OR_RETURN(const std::optional<std::string> row,
                   catalog_.Get(key::Saved(key::Inode(inode), now_)));
  if (!row) return true;  // it has not changed since
  ASSIGN_OR_RETURN(const SavedRow saved, SavedRow::Decode(*row));
  if (!saved.row) return false;
  ASSIGN_OR_RETURN(const InodeRecord record, InodeRecord::Decode(*saved.row));
  return record.content == content;
}

Status SavedRows::AppendEnd(InodeNumber next_inode, const std::vector<Shown>& shown, Batch* batch) {
  for (const Shown& one : shown) {
    // The captures before this one go on to show the row as it is.
    ASSIGN_OR_RETURN(const bool saved, IsSaved(one.key));
    if (!saved && first_new_ != 0 && key::Id(one.key) < first_new_) {
      SavedRow before;
      ASSIGN_OR_RETURN(before.row, catalog_.Get(one.key));
      batch->Put(key::Saved(one.key, now_), before.Encode());
    }
    batch->Put(key::Saved(one.key, now_ + 1), SavedRow{one.row}.Encode());
  }
  std::string value;
  ByteWriter out(&value);
  out.U64(now_ + 1);
  out.U64(next_inode);
  batch->Put(key::Meta(kMomentMeta), std::move(value));
  return Status();
}

void SavedRows::Ended(InodeNumber next_inode, const std::vector<Shown>& shown) {
  ++now_;
  first_new_ = next_inode;
  saved_.clear();
  saved_is_all_ = true;
  for (const Shown& one : shown) saved_.insert(one.key);
}

}  // namespace varve
