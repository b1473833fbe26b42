#include "store/chunk/fingerprint.h"

#include <sys/random.h>
#include <xxhash.h>

#include <cerrno>

#include "store/base/check.h"

namespace varve {
namespace {

void PutWord(uint64_t word, uint8_t* out) {
  for (size_t i = 0; i < sizeof(word); ++i) out[i] = static_cast<uint8_t>(word >> (8 * i));
}

}  // namespace

std::string Fingerprinter::MakeSecret() {
  std::string secret(kSecretBytes, '\0');
  // Up to 256 bytes are delivered whole once the kernel's pool is seeded.
  ssize_t got = 0;
  do {
    got = ::getrandom(secret.data(), secret.size(), 0);
  } while (got < 0 && errno == EINTR);
  CHECK(got == static_cast<ssize_t>(kSecretBytes));
  return secret;
}

Fingerprinter::Fingerprinter(std::string secret) : secret_(std::move(secret)) {
  static_assert(kSecretBytes >= XXH3_SECRET_SIZE_MIN);
  CHECK(secret_.size() == kSecretBytes);
}

ChunkId Fingerprinter::Name(ByteView bytes) const {
  const XXH128_hash_t hash =
      XXH3_128bits_withSecret(bytes.data(), bytes.size(), secret_.data(), secret_.size());
  ChunkId id;
  PutWord(hash.low64, id.bytes.data());
  PutWord(hash.high64, id.bytes.data() + sizeof(uint64_t));
  // All zero means "hole"; whoever shares chunks compares bytes, so a second
  // name with the same value does no harm.
  if (id == ChunkId{}) id.bytes[0] = 1;
  return id;
}

uint64_t Fingerprinter::Hash64(ByteView bytes) const {
  return XXH3_64bits_withSecret(bytes.data(), bytes.size(), secret_.data(), secret_.size());
}

}  // namespace varve
