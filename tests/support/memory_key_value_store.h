// A KeyValueStore in memory: the simulator's, and the model of the contract suite.
//
// What Write() has stored is "on disk": it lives as long as the object, whatever
// becomes of the catalog above it. A hook decides about each Write() beforehand,
// which is how a test fills the disk, fails the n-th write or dies in the middle.
//
// Threads: as KeyValueStore.
#pragma once

#include <functional>
#include <map>
#include <memory>
#include <string>

#include "index/catalog.h"
#include "store/base/mutex.h"

namespace varve::testing {

class MemoryKeyValueStore final : public KeyValueStore {
 public:
  MemoryKeyValueStore();

  Result<std::optional<std::string>> Get(std::string_view key) override;
  Result<std::unique_ptr<Cursor>> OpenCursor(std::string_view begin) override;
  Status Write(const std::vector<Batch::Change>& changes) override;
  uint64_t Bytes() override;

  // What a Write() answers, and whether it happens: a machine may die after the
  // data is safe and before anybody is told.
  struct Verdict {
    Status answer;
    bool write = true;
  };
  using Hook = std::function<Verdict()>;
  void SetWriteHook(Hook hook);

 private:
  using Rows = std::map<std::string, std::string, std::less<>>;

  std::shared_ptr<const Rows> rows();

  Mutex mutex_;
  std::shared_ptr<const Rows> rows_ GUARDED_BY(mutex_);  // replaced, never changed
  Hook hook_ GUARDED_BY(mutex_);
};

}  // namespace varve::testing
