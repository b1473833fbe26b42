// Views of bytes, and little-endian encoding with bounds checks.
//
// Everything that VarveFS stores is little-endian and unpadded, except keys of
// the index, which are big-endian so that they sort (index/key.h). A ByteReader
// never reads beyond its view: after the first failure every further read
// returns zero and ok() is false, so a decoder checks once, at its end.
#pragma once

#include <cstdint>
#include <cstring>
#include <span>
#include <string>
#include <string_view>

namespace varve {

using ByteView = std::span<const uint8_t>;
using MutableBytes = std::span<uint8_t>;

inline ByteView AsBytes(std::string_view text) {
  return {reinterpret_cast<const uint8_t*>(text.data()), text.size()};
}
inline std::string_view AsText(ByteView bytes) {
  return {reinterpret_cast<const char*>(bytes.data()), bytes.size()};
}

// Appends to a string that it does not own.
class ByteWriter {
 public:
  explicit ByteWriter(std::string* out) : out_(out) {}

  void U8(uint8_t value) { Fixed(value); }
  void U16(uint16_t value) { Fixed(value); }
  void U32(uint32_t value) { Fixed(value); }
  void U64(uint64_t value) { Fixed(value); }
  // LEB128, 1 to 10 bytes.
  void Varint(uint64_t value) {
    while (value >= 0x80) {
      out_->push_back(static_cast<char>(value | 0x80));
      value >>= 7;
    }
    out_->push_back(static_cast<char>(value));
  }
  void Raw(ByteView bytes) { out_->append(AsText(bytes)); }
  // A varint length, then the bytes.
  void Text(std::string_view text) {
    Varint(text.size());
    out_->append(text);
  }

 private:
  template <typename T>
  void Fixed(T value) {
    char bytes[sizeof(T)];
    for (size_t i = 0; i < sizeof(T); ++i) bytes[i] = static_cast<char>(value >> (8 * i));
    out_->append(bytes, sizeof(T));
  }

  std::string* out_;
};

class ByteReader {
 public:
  explicit ByteReader(ByteView bytes) : bytes_(bytes) {}
  explicit ByteReader(std::string_view text) : bytes_(AsBytes(text)) {}

  uint8_t U8() { return Fixed<uint8_t>(); }
  uint16_t U16() { return Fixed<uint16_t>(); }
  uint32_t U32() { return Fixed<uint32_t>(); }
  uint64_t U64() { return Fixed<uint64_t>(); }
  uint64_t Varint() {
    uint64_t value = 0;
    for (unsigned shift = 0; shift < 64; shift += 7) {
      const uint8_t byte = U8();
      // The tenth byte has room for one bit.
      if (shift == 63 && byte > 1) break;
      value |= static_cast<uint64_t>(byte & 0x7f) << shift;
      if ((byte & 0x80) == 0) return ok_ ? value : 0;
    }
    ok_ = false;
    return 0;
  }
  ByteView Raw(uint64_t size) {
    if (!Has(size)) return {};
    const ByteView view = bytes_.subspan(position_, static_cast<size_t>(size));
    position_ += static_cast<size_t>(size);
    return view;
  }
  std::string_view Text() { return AsText(Raw(Varint())); }

  bool ok() const { return ok_; }
  size_t remaining() const { return bytes_.size() - position_; }
  // True when all was read and nothing failed.
  bool Done() const { return ok_ && remaining() == 0; }

 private:
  bool Has(uint64_t size) {
    if (!ok_ || size > remaining()) ok_ = false;
    return ok_;
  }
  template <typename T>
  T Fixed() {
    if (!Has(sizeof(T))) return 0;
    T value = 0;
    for (size_t i = 0; i < sizeof(T); ++i)
      value =
          static_cast<T>(value | static_cast<T>(static_cast<T>(bytes_[position_ + i]) << (8 * i)));
    position_ += sizeof(T);
    return value;
  }

  ByteView bytes_;
  size_t position_ = 0;
  bool ok_ = true;
};

}  // namespace varve
