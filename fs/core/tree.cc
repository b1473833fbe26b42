#include "fs/core/tree.h"

#include <algorithm>

namespace varve {
namespace {

// Numbers are reserved in blocks, one row a block; a crash skips the rest of one.
constexpr uint64_t kIdBlock = 1 << 16;

// Cookies below it are "." and "..".
constexpr uint64_t kSlotMin = Tree::kProbes;
constexpr uint64_t kHashMask = (uint64_t{1} << 59) - 1;

}  // namespace

Tree::Tree(Catalog& catalog, const Fingerprinter& fingerprinter, Clock& clock)
    : catalog_(catalog),
      fingerprinter_(fingerprinter),
      clock_(clock),
      saved_(catalog),
      dirty_(catalog, clock) {}

Status Tree::Open(uid_t uid, gid_t gid) {
  ASSIGN_OR_RETURN(const uint64_t reserved, ReservedIds());
  {
    MutexLock lock(id_mutex_);
    next_id_ = reserved_ids_ = reserved;
  }
  RETURN_IF_ERROR(saved_.Load());
  RETURN_IF_ERROR(dirty_.Load());
  ASSIGN_OR_RETURN(const std::optional<std::string> root, catalog_.Get(key::Inode(kRootNode)));
  if (root) return Status();
  InodeRecord record;
  record.mode = S_IFDIR | 0755;
  record.uid = uid;
  record.gid = gid;
  record.links = 2;
  record.parent = kRootNode;
  record.history = kRootNode;
  record.access_time = record.modify_time = record.change_time = record.birth_time = Now();
  Batch batch;
  PutInode(kRootNode, record, &batch);
  return Apply(batch);
}

Result<uint64_t> Tree::ReservedIds() {
  ASSIGN_OR_RETURN(const std::optional<std::string> row, catalog_.Get(key::Meta(kIdsMeta)));
  if (!row) return kFirstId;
  ByteReader in(*row);
  const uint64_t reserved = in.U64();
  if (!in.Done()) return Status(Code::kCorrupt, "the index's counter of numbers is damaged");
  return reserved;
}

void Tree::PutReservedIds(uint64_t end, Batch* batch) {
  std::string value;
  ByteWriter(&value).U64(end);
  batch->Put(key::Meta(kIdsMeta), std::move(value));
}

Result<uint64_t> Tree::NewId() {
  MutexLock lock(id_mutex_);
  if (next_id_ == reserved_ids_) {
    Batch batch;
    PutReservedIds(reserved_ids_ + kIdBlock, &batch);
    RETURN_IF_ERROR(catalog_.Apply(batch));
    reserved_ids_ += kIdBlock;
  }
  return next_id_++;
}

Status Tree::Apply(const Batch& batch) {
  Batch rows;
  RETURN_IF_ERROR(dirty_.AppendParents(batch, &rows));
  return ApplySaved(std::move(rows), batch);
}

Status Tree::ApplyUnseen(const Batch& batch) { return ApplySaved(Batch(), batch); }

Status Tree::ApplySaved(Batch rows, const Batch& batch) {
  RETURN_IF_ERROR(saved_.Append(batch, &rows));
  if (rows.empty()) return ApplyRows(batch);
  rows.Append(batch);
  const Status applied = ApplyRows(rows);
  if (!applied.ok()) saved_.Failed();
  return applied;
}

// First noted, then there: who asks for references finds one of the two.
Status Tree::ApplyRows(const Batch& batch) {
  references_.Note(batch);
  return catalog_.Apply(batch);
}

Status Tree::EndMoment(Batch batch, const std::vector<SavedRows::Shown>& shown) {
  InodeNumber next = 0;
  {
    MutexLock lock(id_mutex_);
    next = next_id_;
  }
  RETURN_IF_ERROR(saved_.AppendEnd(next, shown, &batch));
  RETURN_IF_ERROR(ApplyRows(batch));
  saved_.Ended(next, shown);
  return Status();
}

Result<InodeRecord> Tree::Inode(InodeNumber inode) {
  ASSIGN_OR_RETURN(const std::optional<std::string> row, catalog_.Get(key::Inode(inode)));
  if (!row) return Status::Errno(ESTALE);
  return InodeRecord::Decode(*row);
}

Result<ContentRecord> Tree::Content(ContentId content) {
  ASSIGN_OR_RETURN(const std::optional<std::string> row, catalog_.Get(key::Content(content)));
  if (!row) return Status(Code::kCorrupt, "the index lacks content " + std::to_string(content));
  return ContentRecord::Decode(*row);
}

uint64_t Tree::FirstSlot(std::string_view name) const {
  const uint64_t hash = fingerprinter_.Hash64(AsBytes(name)) & kHashMask;
  return std::max<uint64_t>(hash, 1) * kProbes;
}

Result<std::optional<NamedEntry>> Tree::Find(InodeNumber parent, std::string_view name) {
  const uint64_t first = FirstSlot(name);
  for (uint64_t slot = first; slot < first + kProbes; ++slot) {
    ASSIGN_OR_RETURN(const std::optional<std::string> row, catalog_.Get(key::Dirent(parent, slot)));
    if (!row) break;
    ASSIGN_OR_RETURN(DirentRecord record, DirentRecord::Decode(*row));
    if (record.name != name) continue;
    if (record.moment != 0) break;
    return std::optional<NamedEntry>({slot, std::move(record)});
  }
  return std::optional<NamedEntry>();
}

Result<uint64_t> Tree::SlotForNew(InodeNumber parent, std::string_view name) {
  if (name.size() > kNameBytesMax) return Status::Errno(ENAMETOOLONG);
  if (name == ".varve") return Status::Errno(EEXIST);
  const uint64_t first = FirstSlot(name);
  for (uint64_t slot = first; slot < first + kProbes; ++slot) {
    ASSIGN_OR_RETURN(const std::optional<std::string> row, catalog_.Get(key::Dirent(parent, slot)));
    if (!row) return slot;
    ASSIGN_OR_RETURN(const DirentRecord record, DirentRecord::Decode(*row));
    if (record.name == name) return Status::Errno(EEXIST);
  }
  return Status::Errno(ENOSPC);  // 16 names with one hash under a secret: not by chance
}

Status Tree::RemoveName(InodeNumber parent, uint64_t slot, Batch* batch) {
  const uint64_t end = (slot / kProbes + 1) * kProbes;
  uint64_t last = slot;
  std::string moved;
  for (uint64_t next = slot + 1; next < end; ++next) {
    ASSIGN_OR_RETURN(const std::optional<std::string> row, catalog_.Get(key::Dirent(parent, next)));
    if (!row) break;
    last = next;
    moved = *row;
  }
  if (last != slot) batch->Put(key::Dirent(parent, slot), std::move(moved));
  batch->Delete(key::Dirent(parent, last));
  return Status();
}

Result<bool> Tree::IsEmpty(InodeNumber directory) {
  ASSIGN_OR_RETURN(const std::vector<NamedEntry> first, List(directory, 0, 1));
  return first.empty();
}

Result<std::vector<NamedEntry>> Tree::List(InodeNumber directory, uint64_t after_slot,
                                           size_t limit) {
  std::vector<NamedEntry> entries;
  Status damaged;
  const key::Range range = key::AllDirents(directory, std::max(after_slot, kSlotMin - 1));
  RETURN_IF_ERROR(
      catalog_.Scan(range.begin, range.end, [&](std::string_view row_key, std::string_view row) {
        Result<DirentRecord> record = DirentRecord::Decode(row);
        if (!record.ok()) {
          damaged = record.status();
          return false;
        }
        if (!record->gone() && record->moment == 0)
          entries.push_back({key::Slot(row_key), std::move(record).value()});
        return entries.size() < limit;
      }));
  RETURN_IF_ERROR(damaged);
  return entries;
}

Result<std::vector<LinkName>> Tree::Names(InodeNumber inode, const InodeRecord& record) {
  std::vector<LinkName> names;
  if (record.links == 0) return names;
  if (record.links == 1 || S_ISDIR(record.mode)) {
    names.push_back({record.parent, record.name});
    return names;
  }
  const key::Range range = key::AllLinks(inode);
  RETURN_IF_ERROR(
      catalog_.Scan(range.begin, range.end, [&](std::string_view row_key, std::string_view) {
        names.push_back({key::LinkParent(row_key), std::string(key::LinkName(row_key))});
        return true;
      }));
  return names;
}

Result<bool> Tree::IsBelow(InodeNumber directory, InodeNumber ancestor) {
  while (directory != ancestor) {
    if (directory == kRootNode) return false;
    ASSIGN_OR_RETURN(const InodeRecord record, Inode(directory));
    directory = record.parent;
  }
  return true;
}

std::string Tree::PathOf(InodeNumber inode) {
  std::string path;
  for (int depth = 0; inode != kRootNode && depth < 4096; ++depth) {
    Result<InodeRecord> record = Inode(inode);
    if (!record.ok()) return "(inode " + std::to_string(inode) + ")" + path;
    path = "/" + record->name + path;
    inode = record->parent;
  }
  return path.empty() ? "/" : path;
}

}  // namespace varve
