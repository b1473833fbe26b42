#include "fs/core/content_references.h"

#include <vector>

#include "fs/core/records.h"

namespace varve {

void ContentReferences::Start() {
  MutexLock lock(mutex_);
  noted_.clear();
  on_.store(true, std::memory_order_release);
}

void ContentReferences::Stop() {
  MutexLock lock(mutex_);
  noted_.clear();
  on_.store(false, std::memory_order_release);
}

void ContentReferences::Note(const Batch& batch) {
  if (!on_.load(std::memory_order_acquire)) return;
  std::vector<ContentId> named;
  for (const Batch::Change& change : batch.changes())
    if (change.value) AppendNamedContents(change.key, *change.value, &named);
  MutexLock lock(mutex_);
  noted_.insert(named.begin(), named.end());
}

bool ContentReferences::Has(ContentId content) const {
  MutexLock lock(mutex_);
  return noted_.contains(content);
}

void AppendNamedContents(std::string_view row_key, std::string_view row,
                         std::vector<ContentId>* contents) {
  const auto append = [&](ContentId content) {
    if (content != 0) contents->push_back(content);
  };
  switch (row_key[0]) {
    case key::kInode:
      if (const auto record = InodeRecord::Decode(row); record.ok()) append(record->content);
      break;
    case key::kVersion:
      if (const auto record = VersionRecord::Decode(row); record.ok()) append(record->content);
      break;
    case key::kContent:
      if (const auto record = ContentRecord::Decode(row); record.ok()) {
        append(record->base);
        append(record->replaced);
      }
      break;
    case key::kSaved:
      if (key::SavedKey(row_key)[0] != key::kInode) break;
      if (const auto saved = SavedRow::Decode(row); saved.ok() && saved->row)
        AppendNamedContents(key::SavedKey(row_key), *saved->row, contents);
      break;
    default:
      break;
  }
}

}  // namespace varve
