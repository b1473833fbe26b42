#include "store/base/checksum.h"

// Inlined, so that a short record costs no call through the dynamic linker.
#define XXH_INLINE_ALL
#include <xxhash.h>

namespace varve {

uint64_t Checksum64(ByteView bytes) { return XXH3_64bits(bytes.data(), bytes.size()); }

}  // namespace varve
