// Whether the file of an LMDB environment can be trusted.
//
// LMDB's pages carry no checksum, and LMDB believes what they say: a wrong page number or offset
// ends the process by an assertion or a signal, a wrong key makes a row invisible. So before LMDB
// sees the file this walks the newest tree as it is on disk, and the list of free pages: every
// page in its place and used once, every node inside its page, every key in order and between
// those of its parent, every value under its seal (lmdb_seal.h), every page accounted for, and
// the counts of the metadata as counted. It reads each used page once; a million small files are
// about half a GiB. What decays later, while the index is open, it cannot see.
//
// Threads: free of state. REQUIRES: nobody writes to the file.
// Errors:  kCorrupt names the page; kNotFound; kUnsupported: another version of LMDB's format;
//          kIo.
// Format:  the data file of LMDB 0.9 on machines with 64 bits, little-endian: pages of
//          one size, the first two of metadata, each page with a header of 16 bytes, the offsets
//          of its nodes, and the nodes; long values in pages of their own.
#pragma once

#include <string>

#include "store/base/result.h"

namespace varve {

// `path` is the file data.mdb.
Status CheckLmdbFile(const std::string& path);

}  // namespace varve
