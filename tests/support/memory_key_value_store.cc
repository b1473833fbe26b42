#include "tests/support/memory_key_value_store.h"

#include <utility>

namespace varve::testing {
namespace {

using Rows = std::map<std::string, std::string, std::less<>>;

class RowsCursor final : public KeyValueStore::Cursor {
 public:
  RowsCursor(std::shared_ptr<const Rows> rows, std::string_view begin)
      : rows_(std::move(rows)), row_(rows_->lower_bound(begin)) {}

  bool valid() const override { return row_ != rows_->end(); }
  std::string_view key() const override { return row_->first; }
  std::string_view value() const override { return row_->second; }
  Status Next() override {
    ++row_;
    return {};
  }

 private:
  std::shared_ptr<const Rows> rows_;
  Rows::const_iterator row_;
};

}  // namespace

MemoryKeyValueStore::MemoryKeyValueStore() : rows_(std::make_shared<Rows>()) {}

std::shared_ptr<const Rows> MemoryKeyValueStore::rows() {
  MutexLock lock(mutex_);
  return rows_;
}

Result<std::optional<std::string>> MemoryKeyValueStore::Get(std::string_view key) {
  const std::shared_ptr<const Rows> now = rows();
  const auto row = now->find(key);
  if (row == now->end()) return std::optional<std::string>();
  return std::optional<std::string>(row->second);
}

Result<std::unique_ptr<KeyValueStore::Cursor>> MemoryKeyValueStore::OpenCursor(
    std::string_view begin) {
  return std::unique_ptr<Cursor>(std::make_unique<RowsCursor>(rows(), begin));
}

Status MemoryKeyValueStore::Write(const std::vector<Batch::Change>& changes) {
  MutexLock lock(mutex_);
  const Verdict verdict = hook_ ? hook_() : Verdict{};
  if (verdict.write) {
    auto rows = std::make_shared<Rows>(*rows_);
    for (const Batch::Change& change : changes) {
      if (change.value) {
        (*rows)[change.key] = *change.value;
      } else {
        rows->erase(change.key);
      }
    }
    rows_ = std::move(rows);
  }
  return verdict.answer;
}

uint64_t MemoryKeyValueStore::Bytes() {
  uint64_t bytes = 0;
  for (const auto& [key, value] : *rows()) bytes += key.size() + value.size();
  return bytes;
}

void MemoryKeyValueStore::SetWriteHook(Hook hook) {
  MutexLock lock(mutex_);
  hook_ = std::move(hook);
}

}  // namespace varve::testing
