#include "fs/core/seals.h"

namespace varve {

Status Seals::Load() {
  const key::Range range = key::Table(key::kSeal);
  return tree_.catalog().Scan(range.begin, range.end,
                              [&](std::string_view row_key, std::string_view) {
                                sealed_.insert(key::Id(row_key));
                                return true;
                              });
}

Result<bool> Seals::IsSealedDirectory(InodeNumber directory) {
  if (sealed_.empty()) return false;
  while (!sealed_.contains(directory)) {
    if (directory == kRootNode) return false;
    const Result<InodeRecord> record = tree_.Inode(directory);
    if (!record.ok() && record.status().os_errno() == ESTALE) return false;
    RETURN_IF_ERROR(record.status());
    if (record->links == 0) return false;
    directory = record->parent;
  }
  return true;
}

Result<bool> Seals::IsSealed(InodeNumber inode) {
  if (sealed_.empty()) return false;
  ASSIGN_OR_RETURN(const InodeRecord record, tree_.Inode(inode));
  if (S_ISDIR(record.mode)) return IsSealedDirectory(inode);
  ASSIGN_OR_RETURN(const std::vector<LinkName> names, tree_.Names(inode, record));
  for (const LinkName& name : names) {
    ASSIGN_OR_RETURN(const bool sealed, IsSealedDirectory(name.parent));
    if (sealed) return true;
  }
  return false;
}

Status Seals::Set(InodeNumber directory) {
  Batch batch;
  batch.Put(key::Seal(directory), "");
  RETURN_IF_ERROR(tree_.Apply(batch));
  sealed_.insert(directory);
  return Status();
}

Status Seals::Remove(InodeNumber directory) {
  Batch batch;
  batch.Delete(key::Seal(directory));
  RETURN_IF_ERROR(tree_.Apply(batch));
  sealed_.erase(directory);
  return Status();
}

void Seals::AppendGone(InodeNumber directory, Batch* batch) {
  if (sealed_.erase(directory) > 0) batch->Delete(key::Seal(directory));
}

}  // namespace varve
