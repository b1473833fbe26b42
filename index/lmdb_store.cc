#include "index/lmdb_store.h"

#include <fcntl.h>
#include <lmdb.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <bit>
#include <cstring>
#include <utility>
#include <vector>

#include "store/base/checksum.h"
#include "store/base/mutex.h"
#include "store/base/unique_fd.h"

namespace varve {
namespace {

// Lookups and cursors at a time, and so reset transactions that are worth keeping.
constexpr unsigned kReadersMax = 1022;
constexpr size_t kParkedMax = 128;
constexpr size_t kSealBytes = 4;

Status Failure(int code, std::string context) {
  context = "index: " + context;
  if (code > 0) return Status::Errno(code, std::move(context));
  context += std::string(": ") + ::mdb_strerror(code);
  switch (code) {
    case MDB_NOTFOUND:
      return Status(Code::kNotFound, std::move(context));
    case MDB_MAP_FULL:
      return Status(Code::kNoSpace, std::move(context));
    case MDB_PAGE_NOTFOUND:
    case MDB_CORRUPTED:
    case MDB_INVALID:
    case MDB_INCOMPATIBLE:
      return Status(Code::kCorrupt, std::move(context));
    case MDB_VERSION_MISMATCH:
      return Status(Code::kUnsupported, std::move(context));
    case MDB_READERS_FULL:
      return Status(Code::kBusy, std::move(context));
    case MDB_BAD_VALSIZE:
      return Status(Code::kInvalid, std::move(context));
    default:
      return Status(Code::kIo, std::move(context));
  }
}

MDB_val Value(std::string_view text) {
  return {text.size(), const_cast<char*>(text.data())};  // LMDB does not write to it
}
std::string_view Text(const MDB_val& value) {
  return {static_cast<const char*>(value.mv_data), value.mv_size};
}

uint32_t Seal(std::string_view key, std::string_view value) {
  return static_cast<uint32_t>(std::rotl(Checksum64(AsBytes(key)), 1) ^ Checksum64(AsBytes(value)));
}

// Takes the seal off and verifies it.
Result<std::string_view> Unseal(std::string_view key, const MDB_val& stored) {
  const std::string_view text = Text(stored);
  if (text.size() >= kSealBytes) {
    const std::string_view value = text.substr(0, text.size() - kSealBytes);
    if (ByteReader(text.substr(value.size())).U32() == Seal(key, value)) return value;
  }
  return Status(Code::kCorrupt, "index: the checksum of a row");
}

struct EnvCloser {
  void operator()(MDB_env* env) const { ::mdb_env_close(env); }
};
struct TxnAborter {
  void operator()(MDB_txn* txn) const { ::mdb_txn_abort(txn); }
};
struct CursorCloser {
  void operator()(MDB_cursor* cursor) const { ::mdb_cursor_close(cursor); }
};
using Env = std::unique_ptr<MDB_env, EnvCloser>;
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
  LmdbStore(Env env, MDB_dbi dbi) : env_(std::move(env)), dbi_(dbi) {}

  Result<std::optional<std::string>> Get(std::string_view key) override;
  Result<std::unique_ptr<Cursor>> OpenCursor(std::string_view begin) override;
  Status Write(const std::vector<Batch::Change>& changes) override;
  uint64_t Bytes() override;

 private:
  friend class ReadLoan;

  // A transaction that sees the newest state.
  Result<ReadLoan> Borrow();
  void Park(Txn txn);
  Status WriteChange(MDB_txn* txn, MDB_cursor* cursor, const Batch::Change& change);

  const Env env_;
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
    if (opened != 0) return Failure(opened, "open a cursor");
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
    if (moved != 0) return Failure(moved, "read");
    key_ = Text(key);
    const Result<std::string_view> value = Unseal(key_, stored);
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
    if (renewed != 0) return Failure(renewed, "renew a read");
  } else {
    MDB_txn* begun = nullptr;
    const int outcome = ::mdb_txn_begin(env_.get(), nullptr, MDB_RDONLY, &begun);
    if (outcome != 0) return Failure(outcome, "begin a read");
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
  if (outcome != 0) return Failure(outcome, "read");
  ASSIGN_OR_RETURN(const std::string_view value, Unseal(key, stored));
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
  MDB_txn* begun = nullptr;
  const int outcome = ::mdb_txn_begin(env_.get(), nullptr, 0, &begun);
  if (outcome != 0) return Failure(outcome, "begin a write");
  Txn txn(begun);
  {
    MDB_cursor* opened = nullptr;
    const int cursor_outcome = ::mdb_cursor_open(txn.get(), dbi_, &opened);
    if (cursor_outcome != 0) return Failure(cursor_outcome, "open a cursor");
    const LmdbCursor cursor(opened);
    for (const Batch::Change& change : changes)
      RETURN_IF_ERROR(WriteChange(txn.get(), cursor.get(), change));
  }
  // Frees the transaction, whatever comes of it. A failure leaves the old state.
  const int committed = ::mdb_txn_commit(txn.release());
  return committed == 0 ? Status() : Failure(committed, "commit");
}

Status LmdbStore::WriteChange(MDB_txn* txn, MDB_cursor* cursor, const Batch::Change& change) {
  MDB_val key = Value(change.key);
  if (!change.value) {
    const int deleted = ::mdb_del(txn, dbi_, &key, nullptr);
    return deleted == 0 || deleted == MDB_NOTFOUND ? Status() : Failure(deleted, "delete");
  }
  // Through one cursor: it stays on its page while the keys ascend.
  const std::string& value = *change.value;
  MDB_val place{value.size() + kSealBytes, nullptr};
  const int put = ::mdb_cursor_put(cursor, &key, &place, MDB_RESERVE);
  if (put != 0) return Failure(put, "write");
  std::string seal;
  ByteWriter(&seal).U32(Seal(change.key, value));
  auto* bytes = static_cast<char*>(place.mv_data);
  std::memcpy(bytes, value.data(), value.size());
  std::memcpy(bytes + value.size(), seal.data(), kSealBytes);
  return {};
}

uint64_t LmdbStore::Bytes() {
  int descriptor = -1;
  struct stat attributes {};
  if (::mdb_env_get_fd(env_.get(), &descriptor) != 0 || ::fstat(descriptor, &attributes) != 0)
    return 0;
  return static_cast<uint64_t>(attributes.st_blocks) * 512;
}

// --- opening ---

Status SyncDirectoryAt(const std::string& path) {
  const UniqueFd directory(::open(path.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  if (!directory.valid() || ::fsync(directory.get()) != 0)
    return Status::Errno(errno, "index: sync directory " + path);
  return {};
}

Result<Env> OpenEnv(const std::string& path, const LmdbOptions& options) {
  MDB_env* created = nullptr;
  const int outcome = ::mdb_env_create(&created);
  if (outcome != 0) return Failure(outcome, "create the environment");
  Env env(created);
  int code = ::mdb_env_set_mapsize(created, options.map_bytes);
  if (code == 0) code = ::mdb_env_set_maxreaders(created, kReadersMax);
  if (code == 0) {
    code = ::mdb_env_set_assert(created, [](MDB_env*, const char* message) {
      CheckFailed(message, "lmdb: the index is damaged", 0);
    });
  }
  const unsigned flags = MDB_NOTLS | (options.read_only ? MDB_RDONLY : 0u);
  if (code == 0) code = ::mdb_env_open(created, path.c_str(), flags, 0600);
  if (code != 0) return Failure(code, "open " + path);
  return env;
}

// Removes what a power cut left of an environment that was being created: two pages of metadata,
// not both written. The first commit makes it larger.
bool RemoveUnfinished(const std::string& path) {
  const std::string data = path + "/data.mdb";
  struct stat attributes {};
  return ::stat(data.c_str(), &attributes) == 0 &&
         attributes.st_size <= 2 * ::sysconf(_SC_PAGESIZE) && ::unlink(data.c_str()) == 0;
}

// The pages that LMDB counts on, but that lie behind the end of its file, must read as zeros: as
// they are they end the process. There are harmless ones, which were freed before they were
// written, and those of a file that was cut short.
Status CoverMissingPages(MDB_env* env, bool read_only) {
  MDB_envinfo info;
  MDB_stat statistics;
  int descriptor = -1;
  struct stat attributes {};
  ::mdb_env_info(env, &info);
  ::mdb_env_stat(env, &statistics);
  ::mdb_env_get_fd(env, &descriptor);
  if (::fstat(descriptor, &attributes) != 0) return Status::Errno(errno, "index: data.mdb");
  const uint64_t page_bytes = statistics.ms_psize;
  const uint64_t counted = (info.me_last_pgno + 1) * page_bytes;
  const auto present = static_cast<uint64_t>(attributes.st_size);
  if (present >= counted) return {};
  if (counted > info.me_mapsize) return Status(Code::kCorrupt, "index: its count of pages");
  if (!read_only) {
    if (::ftruncate(descriptor, static_cast<off_t>(counted)) == 0) return {};
    return Status::Errno(errno, "index: extend data.mdb");
  }
  const uint64_t begin = (present + page_bytes - 1) / page_bytes * page_bytes;
  if (begin >= counted) return {};
  void* const missing = static_cast<char*>(info.me_mapaddr) + begin;
  const void* mapped = ::mmap(missing, counted - begin, PROT_READ,
                              MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED | MAP_NORESERVE, -1, 0);
  return mapped == missing ? Status() : Status::Errno(errno, "index: cover missing pages");
}

}  // namespace

Result<std::unique_ptr<KeyValueStore>> OpenLmdbStore(const std::string& path,
                                                     const LmdbOptions& options) {
  if (!options.read_only && ::mkdir(path.c_str(), 0700) != 0 && errno != EEXIST)
    return Status::Errno(errno, "index: make directory " + path);
  Result<Env> env = OpenEnv(path, options);
  if (env.status().code() == Code::kCorrupt && !options.read_only && RemoveUnfinished(path))
    env = OpenEnv(path, options);
  if (!env.ok()) return env.status();
  MDB_env* const raw = env->get();
  RETURN_IF_ERROR(CoverMissingPages(raw, options.read_only));
  if (!options.read_only) {
    const int synced = ::mdb_env_sync(raw, 1);
    if (synced != 0) return Failure(synced, "sync");
    RETURN_IF_ERROR(SyncDirectoryAt(path));
    RETURN_IF_ERROR(SyncDirectoryAt(path + "/.."));
  }
  MDB_txn* begun = nullptr;
  const int outcome = ::mdb_txn_begin(raw, nullptr, MDB_RDONLY, &begun);
  if (outcome != 0) return Failure(outcome, "begin a read");
  const Txn txn(begun);
  MDB_dbi dbi = 0;
  const int opened = ::mdb_dbi_open(begun, nullptr, 0, &dbi);
  if (opened != 0) return Failure(opened, "open the database");
  return std::unique_ptr<KeyValueStore>(std::make_unique<LmdbStore>(std::move(env).value(), dbi));
}

Result<std::unique_ptr<KeyValueStore>> OpenLmdb(const std::string& path, bool read_only) {
  LmdbOptions options;
  options.read_only = read_only;
  return OpenLmdbStore(path, options);
}

}  // namespace varve
