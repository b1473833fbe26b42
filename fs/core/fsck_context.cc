#include "fs/core/fsck_context.h"

#include <algorithm>

#include "fs/core/fsck_rows.h"
#include "fs/core/journal.h"

namespace varve {
namespace {

// Well below the log, which waits for a commit when it is full.
constexpr uint64_t kCommitBytes = 16u << 20;
constexpr size_t kBatchChanges = 1024;

}  // namespace

void FsckContext::Add(FsckReport* report, bool repaired, std::string what, std::string remedy) {
  ++report->damages;
  if (repaired) ++report->repaired;
  if (report->findings.size() < FsckReport::kFindingsMax)
    report->findings.push_back({std::move(what), std::move(remedy), repaired});
}

void FsckContext::Note(std::string note) {
  std::vector<std::string>& notes = report_.notes;
  if (std::find(notes.begin(), notes.end(), note) == notes.end()) notes.push_back(std::move(note));
}

Status FsckContext::ScanTable(
    char table, const std::function<void(std::string_view, std::string_view)>& visit) {
  const key::Range range = key::Table(table);
  return d.catalog.Scan(range.begin, range.end,
                        [&](std::string_view row_key, std::string_view row) {
                          if (KeyIsSound(row_key)) visit(row_key, row);
                          return true;
                        });
}

Status FsckContext::Apply(const Batch& batch) {
  CHECK(repair());
  if (batch.empty()) return Status();
  RETURN_IF_ERROR(d.catalog.Apply(batch));
  for (const Batch::Change& change : batch.changes())
    uncommitted_bytes_ += change.key.size() + (change.value ? change.value->size() : 0) + 64;
  return uncommitted_bytes_ < kCommitBytes ? Status() : Commit();
}

Status FsckContext::ApplyAll(const std::vector<Batch::Change>& changes) {
  Batch batch;
  for (const Batch::Change& change : changes) {
    change.value ? batch.Put(change.key, *change.value) : batch.Delete(change.key);
    if (batch.changes().size() < kBatchChanges && &change != &changes.back()) continue;
    RETURN_IF_ERROR(Apply(batch));
    batch = Batch();
  }
  return Status();
}

Status FsckContext::Commit() {
  uncommitted_bytes_ = 0;
  return d.catalog.Commit([this](uint64_t sequence, const std::vector<Batch::Change>& changes) {
    return WriteJournal(d.packs, sequence, changes);
  });
}

std::string FsckContext::PathOf(InodeNumber parent, std::string_view name) {
  std::string path = PathOf(parent);
  if (path != "/") path.push_back('/');
  return path.append(name);
}

}  // namespace varve
