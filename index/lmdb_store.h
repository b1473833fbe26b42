// The KeyValueStore that is an LMDB environment.
//
// One unnamed database. Every value is followed by a 32-bit checksum of its key
// and itself, because LMDB has none: a decayed row is kCorrupt, not a wrong answer.
// The tree's own pages are not covered. LMDB follows damaged page numbers and
// offsets, and may end the process by an assertion or a signal (52 of 600 randomly
// damaged files did; the other damage was reported, none returned wrong rows). A
// file that is shorter than LMDB believes is caught: it reads as zeros. For the rest
// there is VerifyLmdb(). An error of the disk while a page is read is SIGBUS.
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
