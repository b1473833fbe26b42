#include "index/lmdb_env.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <utility>

#include "index/lmdb_check.h"
#include "store/base/unique_fd.h"

namespace varve {
namespace {

// Lookups and cursors at a time. LMDB keeps a table of that size.
constexpr unsigned kReadersMax = 1022;
constexpr uint64_t kMapBytesMin = uint64_t{4} << 30;

Status SyncDirectoryAt(const std::string& path) {
  const UniqueFd directory(::open(path.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  if (!directory.valid() || ::fsync(directory.get()) != 0)
    return Status::Errno(errno, "index: sync directory " + path);
  return {};
}

Result<LmdbEnv> OpenOnce(const std::string& path, const LmdbOptions& options) {
  MDB_env* created = nullptr;
  const int outcome = ::mdb_env_create(&created);
  if (outcome != 0) return LmdbFailure(outcome, "create the environment");
  LmdbEnv env(created);
  int code = ::mdb_env_set_mapsize(created, options.map_bytes);
  if (code == 0) code = ::mdb_env_set_maxreaders(created, kReadersMax);
  if (code == 0) {
    code = ::mdb_env_set_assert(created, [](MDB_env*, const char* message) {
      CheckFailed(message, "lmdb: the index is damaged", 0);
    });
  }
  const unsigned flags = MDB_NOTLS | (options.read_only ? MDB_RDONLY : 0u);
  if (code == 0) code = ::mdb_env_open(created, path.c_str(), flags, 0600);
  if (code != 0) return LmdbFailure(code, "open " + path);
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

}  // namespace

Status LmdbFailure(int code, std::string context) {
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

Result<LmdbEnv> OpenLmdbEnv(const std::string& path, const LmdbOptions& options) {
  if (!options.read_only && ::mkdir(path.c_str(), 0700) != 0 && errno != EEXIST)
    return Status::Errno(errno, "index: make directory " + path);
  Status checked = CheckLmdbFile(path + "/data.mdb");
  const bool unfinished =
      checked.code() == Code::kCorrupt && !options.read_only && RemoveUnfinished(path);
  const bool missing = checked.code() == Code::kNotFound && !options.read_only;
  if (!unfinished && !missing) RETURN_IF_ERROR(checked);
  Result<LmdbEnv> env = OpenOnce(path, options);
  // Where address space is limited (ulimit -v, some sanitizers) less must do.
  LmdbOptions smaller = options;
  while (env.status().os_errno() == ENOMEM && smaller.map_bytes > kMapBytesMin) {
    smaller.map_bytes /= 4;
    env = OpenOnce(path, smaller);
  }
  if (!env.ok() || options.read_only) return env;
  const int synced = ::mdb_env_sync(env->get(), 1);
  if (synced != 0) return LmdbFailure(synced, "sync");
  RETURN_IF_ERROR(SyncDirectoryAt(path));
  RETURN_IF_ERROR(SyncDirectoryAt(path + "/.."));
  return env;
}

}  // namespace varve
