#include "index/lmdb_store.h"

#include <fcntl.h>
#include <lmdb.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <utility>
#include <vector>

#include "index/lmdb_env.h"
#include "index/lmdb_seal.h"
#include "store/base/mutex.h"

namespace varve {
namespace {

// Reset transactions that are worth keeping.
constexpr size_t kParkedMax = 128;
// Behind the end of the file.
constexpr off_t kReserveBytes = 16 << 20;

MDB_val Value(std::string_view text) {
  return {text.size(), const_cast<char*>(text.data())};  // LMDB does not write to it
}
std::string_view Text(const MDB_val& value) {
  return {static_cast<const char*>(value.mv_data), value.mv_size};
}

struct TxnAborter {
  void operator()(MDB_txn* txn) const { ::mdb_txn_abort(txn); }
};
struct CursorCloser {
  void operator()(MDB_cursor* cursor) const { ::mdb_cursor_close(cursor); }
};
using Txn = std::unique_ptr<MDB_txn, TxnAborter>;
using LmdbCursor = std::unique_ptr<MDB_cursor, CursorCloser>;

class LmdbStore;

// A read transaction on loan from the pool.
class ReadLoan {
 public:
  ReadLoan(LmdbStore& store, Txn txn) : store_(&store), txn_(std::move(txn)) {}
  ReadLoan(ReadLoan&&) = default;
  ReadLoan& operator=(ReadLoan&&) = delete;
  ~ReadLoan();

  MDB_txn* get() const { return txn_.get(); }

 private:
  LmdbStore* store_;
  Txn txn_;
};

class LmdbStore final : public KeyValueStore {
 public:
  LmdbStore(LmdbEnv env, MDB_dbi dbi) : env_(std::move(env)), dbi_(dbi) {}

  Result<std::optional<std::string>> Get(std::string_view key) override;
  Result<std::unique_ptr<Cursor>> OpenCursor(std::string_view begin) override;
  Status Write(const std::vector<Batch::Change>& changes) override;
  uint64_t Bytes() override;

 private:
  friend class ReadLoan;

  // A transaction that sees the newest state.
  Result<ReadLoan> Borrow();
  void Park(Txn txn);
  Status WriteTransaction(const std::vector<Batch::Change>& changes);
  bool DiskIsFull() const;
  void Reserve();
  Status WriteChange(MDB_txn* txn, MDB_cursor* cursor, const Batch::Change& change);

  const LmdbEnv env_;
  const MDB_dbi dbi_;

  Mutex pool_mutex_;
  std::vector<Txn> parked_ GUARDED_BY(pool_mutex_);  // reset
};

class StoreCursor final : public KeyValueStore::Cursor {
 public:
  explicit StoreCursor(ReadLoan loan) : loan_(std::move(loan)) {}

  Status Open(MDB_dbi dbi, std::string_view begin) {
    MDB_cursor* cursor = nullptr;
    const int opened = ::mdb_cursor_open(loan_.get(), dbi, &cursor);
    if (opened != 0) return LmdbFailure(opened, "open a cursor");
    cursor_.reset(cursor);
    if (begin.empty()) return Move(MDB_val{}, MDB_FIRST);
    return Move(Value(begin), MDB_SET_RANGE);
  }
  bool valid() const override { return valid_; }
  std::string_view key() const override { return key_; }
  std::string_view value() const override { return value_; }
  Status Next() override { return Move(MDB_val{}, MDB_NEXT); }

 private:
  Status Move(MDB_val key, MDB_cursor_op operation) {
    MDB_val stored;
    const int moved = ::mdb_cursor_get(cursor_.get(), &key, &stored, operation);
    valid_ = moved == 0;
    if (moved == MDB_NOTFOUND) return {};
    if (moved != 0) return LmdbFailure(moved, "read");
    key_ = Text(key);
    const Result<std::string_view> value = Unseal(key_, Text(stored));
    valid_ = value.ok();
    if (valid_) value_ = *value;
    return value.status();
  }

  ReadLoan loan_;  // outlives the cursor
  LmdbCursor cursor_;
  bool valid_ = false;
  std::string_view key_;
  std::string_view value_;
};

ReadLoan::~ReadLoan() {
  if (txn_) store_->Park(std::move(txn_));
}

Result<ReadLoan> LmdbStore::Borrow() {
  Txn txn;
  {
    MutexLock lock(pool_mutex_);
    if (!parked_.empty()) {
      txn = std::move(parked_.back());
      parked_.pop_back();
    }
  }
  if (txn) {
    const int renewed = ::mdb_txn_renew(txn.get());
    if (renewed != 0) return LmdbFailure(renewed, "renew a read");
  } else {
    MDB_txn* begun = nullptr;
    const int outcome = ::mdb_txn_begin(env_.get(), nullptr, MDB_RDONLY, &begun);
    if (outcome != 0) return LmdbFailure(outcome, "begin a read");
    txn.reset(begun);
  }
  return ReadLoan(*this, std::move(txn));
}

void LmdbStore::Park(Txn txn) {
  ::mdb_txn_reset(txn.get());
  MutexLock lock(pool_mutex_);
  if (parked_.size() < kParkedMax) parked_.push_back(std::move(txn));
}

Result<std::optional<std::string>> LmdbStore::Get(std::string_view key) {
  ASSIGN_OR_RETURN(const ReadLoan loan, Borrow());
  MDB_val lmdb_key = Value(key);
  MDB_val stored;
  const int outcome = ::mdb_get(loan.get(), dbi_, &lmdb_key, &stored);
  if (outcome == MDB_NOTFOUND) return std::optional<std::string>();
  if (outcome != 0) return LmdbFailure(outcome, "read");
  ASSIGN_OR_RETURN(const std::string_view value, Unseal(key, Text(stored)));
  return std::optional<std::string>(value);
}

Result<std::unique_ptr<KeyValueStore::Cursor>> LmdbStore::OpenCursor(std::string_view begin) {
  ASSIGN_OR_RETURN(ReadLoan loan, Borrow());
  auto cursor = std::make_unique<StoreCursor>(std::move(loan));
  RETURN_IF_ERROR(cursor->Open(dbi_, begin));
  return std::unique_ptr<Cursor>(std::move(cursor));
}

Status LmdbStore::Write(const std::vector<Batch::Change>& changes) {
  if (changes.empty()) return {};
  Status written = WriteTransaction(changes);
  // LMDB calls a short write an I/O error. Trying again is safe after either: the next transaction
  // writes and flushes all its pages anew, and nothing refers to those of this one.
  if (written.os_errno() == EIO && DiskIsFull())
    return Status::Errno(ENOSPC, std::string(written.context()));
  if (written.ok()) Reserve();
  return written;
}

// So that a disk that others have filled still takes the next commits: what was removed
// gives its room back only when it is committed. Without room there is none; later maybe.
void LmdbStore::Reserve() {
  int descriptor = -1;
  struct stat attributes {};
  if (::mdb_env_get_fd(env_.get(), &descriptor) != 0 || ::fstat(descriptor, &attributes) != 0)
    return;
  const auto allocated = static_cast<uint64_t>(attributes.st_blocks) * 512;
  const auto size = static_cast<uint64_t>(attributes.st_size);
  if (allocated >= size + static_cast<uint64_t>(kReserveBytes) / 2) return;
  (void)::fallocate(descriptor, FALLOC_FL_KEEP_SIZE, attributes.st_size, kReserveBytes);
}

bool LmdbStore::DiskIsFull() const {
  constexpr off_t kProbeBytes = 1 << 20;
  int descriptor = -1;
  struct stat attributes {};
  if (::mdb_env_get_fd(env_.get(), &descriptor) != 0 || ::fstat(descriptor, &attributes) != 0)
    return false;
  // If it is not full, the next commit has use for these bytes.
  return ::fallocate(descriptor, FALLOC_FL_KEEP_SIZE, attributes.st_size, kProbeBytes) != 0 &&
         (errno == ENOSPC || errno == EDQUOT);
}

Status LmdbStore::WriteTransaction(const std::vector<Batch::Change>& changes) {
  MDB_txn* begun = nullptr;
  const int outcome = ::mdb_txn_begin(env_.get(), nullptr, 0, &begun);
  if (outcome != 0) return LmdbFailure(outcome, "begin a write");
  Txn txn(begun);
  {
    MDB_cursor* opened = nullptr;
    const int cursor_outcome = ::mdb_cursor_open(txn.get(), dbi_, &opened);
    if (cursor_outcome != 0) return LmdbFailure(cursor_outcome, "open a cursor");
    const LmdbCursor cursor(opened);
    for (const Batch::Change& change : changes)
      RETURN_IF_ERROR(WriteChange(txn.get(), cursor.get(), change));
  }
  // Frees the transaction, whatever comes of it. A failure leaves the old state.
  const int committed = ::mdb_txn_commit(txn.release());
  return committed == 0 ? Status() : LmdbFailure(committed, "commit");
}

Status LmdbStore::WriteChange(MDB_txn* txn, MDB_cursor* cursor, const Batch::Change& change) {
  MDB_val key = Value(change.key);
  if (!change.value) {
    const int deleted = ::mdb_del(txn, dbi_, &key, nullptr);
    return deleted == 0 || deleted == MDB_NOTFOUND ? Status() : LmdbFailure(deleted, "delete");
  }
  // Through one cursor: it stays on its page while the keys ascend.
  const std::string& value = *change.value;
  MDB_val place{value.size() + kSealBytes, nullptr};
  const int put = ::mdb_cursor_put(cursor, &key, &place, MDB_RESERVE);
  if (put != 0) return LmdbFailure(put, "write");
  std::string seal;
  ByteWriter(&seal).U32(Seal(change.key, value));
  auto* bytes = static_cast<char*>(place.mv_data);
  std::copy(seal.begin(), seal.end(), std::copy(value.begin(), value.end(), bytes));
  return {};
}

uint64_t LmdbStore::Bytes() {
  int descriptor = -1;
  struct stat attributes {};
  if (::mdb_env_get_fd(env_.get(), &descriptor) != 0 || ::fstat(descriptor, &attributes) != 0)
    return 0;
  return std::min(static_cast<uint64_t>(attributes.st_blocks) * 512,
                  static_cast<uint64_t>(attributes.st_size));
}

}  // namespace

Result<std::unique_ptr<KeyValueStore>> OpenLmdbStore(const std::string& path,
                                                     const LmdbOptions& options) {
  ASSIGN_OR_RETURN(LmdbEnv env, OpenLmdbEnv(path, options));
  MDB_txn* begun = nullptr;
  const int outcome = ::mdb_txn_begin(env.get(), nullptr, MDB_RDONLY, &begun);
  if (outcome != 0) return LmdbFailure(outcome, "begin a read");
  Txn txn(begun);
  MDB_dbi dbi = 0;
  const int opened = ::mdb_dbi_open(begun, nullptr, 0, &dbi);
  if (opened != 0) return LmdbFailure(opened, "open the database");
  txn.reset();  // before its environment moves on
  return std::unique_ptr<KeyValueStore>(std::make_unique<LmdbStore>(std::move(env), dbi));
}

Result<std::unique_ptr<KeyValueStore>> OpenLmdb(const std::string& path, bool read_only) {
  LmdbOptions options;
  options.read_only = read_only;
  return OpenLmdbStore(path, options);
}

}  // namespace varve
