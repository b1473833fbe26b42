// Names chunks: XXH3-128 under the store's secret, so that nobody outside can
// prepare collisions. Source: the XXH3 specification, seeded-by-secret variant.
//
// Threads: constant after construction.
#pragma once

#include <string>

#include "store/base/bytes.h"
#include "store/chunk/chunk.h"

namespace varve {

class Fingerprinter {
 public:
  // A secret of 192 random bytes, as kept in the store's superblock.
  static constexpr size_t kSecretBytes = 192;
  static std::string MakeSecret();

  // REQUIRES: secret.size() == kSecretBytes.
  explicit Fingerprinter(std::string secret);

  // Never the all-zero id.
  ChunkId Name(ByteView bytes) const;
  // 64 bits under the same secret, for hash tables that must not be attackable.
  uint64_t Hash64(ByteView bytes) const;

 private:
  std::string secret_;
};

}  // namespace varve
