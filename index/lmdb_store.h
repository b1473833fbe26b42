// The KeyValueStore that is an LMDB environment.
//
// One unnamed database. Every value is followed by a checksum of its key and itself
// (lmdb_seal.h), and the whole file is read and checked before LMDB sees it
// (lmdb_check.h): LMDB follows damaged page numbers and offsets, and may end the process
// by an assertion or a signal (52 of 600 randomly damaged files did). What decays while it is
// open can still do that; a row is always verified. An error of the disk while a page is read is
// SIGBUS.
//
// Read transactions are pooled. A parked one is reset: it keeps its slot in the
// reader table, not the pages it saw.
//
// Threads:  as KeyValueStore. LMDB admits one writer; Write() calls wait.
// Errors:   kNoSpace: disk or map full, after which Write() may be repeated; kCorrupt;
//           kIo; kUnsupported: written by another LMDB; kBusy: more
//           than kReadersMax cursors and lookups at a time.
// Format:   docs/FORMAT.md, "Index".
#pragma once

#include <cstdint>
#include <memory>
#include <string>

#include "index/catalog.h"
#include "store/base/result.h"

namespace varve {

struct LmdbOptions {
  bool read_only = false;
  // Address space, not memory. Never changed later, so it is far more than is needed.
  uint64_t map_bytes = uint64_t{1} << 40;
};

Result<std::unique_ptr<KeyValueStore>> OpenLmdbStore(const std::string& path,
                                                     const LmdbOptions& options);

}  // namespace varve
