// A Catalog in a std::map: all that a test of what reads it needs.
//
// Threads: as Catalog.
// Errors:  none; it never fails and knows no power cut.
#pragma once

#include <map>

#include "index/catalog.h"
#include "store/base/mutex.h"

namespace varve::testing {

class MapCatalog final : public Catalog {
 public:
  Result<std::optional<std::string>> Get(std::string_view key) override {
    MutexLock lock(mutex_);
    const auto found = rows_.find(key);
    if (found == rows_.end()) return std::optional<std::string>();
    return std::optional(found->second);
  }
  Status Scan(std::string_view begin, std::string_view end,
              const std::function<bool(std::string_view, std::string_view)>& visit) override {
    MutexLock lock(mutex_);
    for (auto row = rows_.lower_bound(begin); row != rows_.end() && row->first < end; ++row) {
      if (!visit(row->first, row->second)) break;
    }
    return Status();
  }
  Status Apply(const Batch& batch) override {
    MutexLock lock(mutex_);
    for (const Batch::Change& change : batch.changes()) {
      if (change.value) {
        rows_[change.key] = *change.value;
      } else {
        rows_.erase(change.key);
      }
    }
    return Status();
  }
  Status SyncLog() override { return Status(); }
  Status Commit(const JournalFn&) override { return Status(); }
  CatalogStats Stats() override { return CatalogStats(); }
  bool fenced() const override { return false; }

 private:
  Mutex mutex_;
  std::map<std::string, std::string, std::less<>> rows_ GUARDED_BY(mutex_);
};

}  // namespace varve::testing
