// The checksum behind every value of the index, of its key and itself, because LMDB has none.
//
// Errors: kCorrupt: the row is not as it was written.
// Format: docs/FORMAT.md, "Index".
#pragma once

#include <bit>
#include <cstdint>
#include <string_view>

#include "store/base/bytes.h"
#include "store/base/checksum.h"
#include "store/base/result.h"

namespace varve {

inline constexpr size_t kSealBytes = 4;

inline uint32_t Seal(std::string_view key, std::string_view value) {
  return static_cast<uint32_t>(std::rotl(Checksum64(AsBytes(key)), 1) ^ Checksum64(AsBytes(value)));
}

// Takes the seal off and verifies it.
inline Result<std::string_view> Unseal(std::string_view key, std::string_view stored) {
  if (stored.size() >= kSealBytes) {
    const std::string_view value = stored.substr(0, stored.size() - kSealBytes);
    if (ByteReader(stored.substr(value.size())).U32() == Seal(key, value)) return value;
  }
  return Status(Code::kCorrupt, "index: the checksum of a row");
}

}  // namespace varve
