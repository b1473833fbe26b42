// What lmdb_store.cc and lmdb_env.cc share. Not for others.
#pragma once

#include <lmdb.h>

#include <memory>
#include <string>

#include "index/lmdb_store.h"
#include "store/base/result.h"

namespace varve {

struct LmdbEnvCloser {
  void operator()(MDB_env* env) const { ::mdb_env_close(env); }
};
using LmdbEnv = std::unique_ptr<MDB_env, LmdbEnvCloser>;

// The Status of an error that LMDB returned: its own codes are negative, others are errnos.
Status LmdbFailure(int code, std::string context);

// Opens or creates the environment; it is durable, and its file as it should be, when this returns.
Result<LmdbEnv> OpenLmdbEnv(const std::string& path, const LmdbOptions& options);

}  // namespace varve
