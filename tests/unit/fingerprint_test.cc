#include "store/chunk/fingerprint.h"

#include <gtest/gtest.h>

#include <set>
#include <string>

namespace varve {
namespace {

std::string FixedSecret() {
  std::string secret;
  for (size_t i = 0; i < Fingerprinter::kSecretBytes; ++i) {
    secret.push_back(static_cast<char>(i * 37 + 11));
  }
  return secret;
}

std::string Hex(const ChunkId& id) {
  std::string text;
  for (const uint8_t byte : id.bytes) {
    constexpr char kDigits[] = "0123456789abcdef";
    text += kDigits[byte >> 4];
    text += kDigits[byte & 15];
  }
  return text;
}

TEST(Fingerprint, EqualBytesHaveEqualNames) {
  const Fingerprinter fingerprinter(FixedSecret());
  const std::string a(1000, 'a');
  const std::string b = a;
  EXPECT_EQ(fingerprinter.Name(AsBytes(a)), fingerprinter.Name(AsBytes(b)));
  EXPECT_EQ(fingerprinter.Hash64(AsBytes(a)), fingerprinter.Hash64(AsBytes(b)));
}

TEST(Fingerprint, EveryBitCounts) {
  const Fingerprinter fingerprinter(FixedSecret());
  for (const size_t size : {1u, 8u, 16u, 100u, 200u, 1000u, 4096u}) {
    std::set<ChunkId> names;
    std::string text(size, 'x');
    names.insert(fingerprinter.Name(AsBytes(text)));
    for (size_t bit = 0; bit < size * 8; ++bit) {
      const auto flip = static_cast<char>(1 << (bit % 8));
      text[bit / 8] = static_cast<char>(text[bit / 8] ^ flip);
      names.insert(fingerprinter.Name(AsBytes(text)));
      text[bit / 8] = static_cast<char>(text[bit / 8] ^ flip);
    }
    EXPECT_EQ(names.size(), size * 8 + 1);
  }
}

TEST(Fingerprint, SecretCounts) {
  const Fingerprinter one(FixedSecret());
  const Fingerprinter two(Fingerprinter::MakeSecret());
  for (const size_t size : {0u, 1u, 16u, 200u, 500u, 100'000u}) {
    const std::string text(size, 'x');
    EXPECT_NE(one.Name(AsBytes(text)), two.Name(AsBytes(text))) << size;
    EXPECT_NE(one.Hash64(AsBytes(text)), two.Hash64(AsBytes(text))) << size;
  }
}

TEST(Fingerprint, SecretsDiffer) {
  const std::string secret = Fingerprinter::MakeSecret();
  EXPECT_EQ(secret.size(), Fingerprinter::kSecretBytes);
  EXPECT_NE(secret, Fingerprinter::MakeSecret());
}

// Names are on disk: these must never change.
TEST(Fingerprint, NamesAreStable) {
  const Fingerprinter fingerprinter(FixedSecret());
  EXPECT_EQ(Hex(fingerprinter.Name(AsBytes("varve"))), "2060791a534f38e46670249e4350ff23");
  EXPECT_EQ(Hex(fingerprinter.Name(AsBytes(std::string(100'000, 'v')))),
            "841fddb5d3a2f3cfa57df92e8b75f533");
  EXPECT_EQ(fingerprinter.Hash64(AsBytes("varve")), 4800107270699619223u);
}

}  // namespace
}  // namespace varve
