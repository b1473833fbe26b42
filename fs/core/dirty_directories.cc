#include "fs/core/dirty_directories.h"

#include "fs/core/node_ops.h"
#include "fs/core/records.h"

namespace varve {
namespace {

// Who was marked that short a time ago, so were all above it.
constexpr int64_t kTickNs = int64_t{100} * 1'000'000;

}  // namespace

Status DirtyDirectories::Load() {
  const int64_t now = clock_.MonotonicNs();
  const key::Range range = key::Table(key::kDirty);
  return catalog_.Scan(range.begin, range.end, [&](std::string_view row_key, std::string_view) {
    dirty_[key::Id(row_key)] = {now, now, round_};
    return true;
  });
}

Status DirtyDirectories::Append(InodeNumber directory, Batch* batch) {
  const int64_t now = clock_.MonotonicNs();
  while (true) {
    const auto [it, fresh] = dirty_.try_emplace(directory);
    Since& since = it->second;
    if (fresh) {
      since.first_ns = now;
      batch->Put(key::Dirty(directory), "");
    } else if (since.round == round_ && now - since.last_ns < kTickNs) {
      return Status();
    }
    since.last_ns = now;
    since.round = round_;
    if (directory == kRootNode) return Status();
    ASSIGN_OR_RETURN(const std::optional<std::string> row, catalog_.Get(key::Inode(directory)));
    if (!row) return Status();
    ASSIGN_OR_RETURN(const InodeRecord record, InodeRecord::Decode(*row));
    if (record.links == 0) return Status();
    directory = record.parent;
  }
}

Status DirtyDirectories::AppendParents(const Batch& batch, Batch* rows) {
  InodeNumber last = 0;
  for (const Batch::Change& change : batch.changes()) {
    if (change.key[0] != key::kDirent) continue;
    const InodeNumber parent = key::Id(change.key);
    if (parent != last) RETURN_IF_ERROR(Append(parent, rows));
    last = parent;
  }
  return Status();
}

void DirtyDirectories::AppendClean(InodeNumber directory, Batch* batch) {
  if (dirty_.erase(directory) > 0) batch->Delete(key::Dirty(directory));
  ++round_;
}

std::vector<InodeNumber> DirtyDirectories::FindDue(const Due& due) const {
  const int64_t now = clock_.MonotonicNs();
  std::vector<InodeNumber> found;
  for (const auto& [directory, since] : dirty_)
    if (now - since.last_ns >= due.quiet_ns || now - since.first_ns >= due.bound_ns)
      found.push_back(directory);
  return found;
}

std::vector<InodeNumber> DirtyDirectories::All() const {
  std::vector<InodeNumber> all;
  all.reserve(dirty_.size());
  for (const auto& [directory, since] : dirty_) all.push_back(directory);
  return all;
}

}  // namespace varve
