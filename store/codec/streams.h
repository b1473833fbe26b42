// Entropy coding of byte streams: the parts that the float encodings are made of.
//
// All entropy coding is zstd's: a stream without repetitions is a frame of Huffman
// coded literals, because the match finder is set to find next to nothing.
//
// Threads: a coder belongs to one thread.
// Errors:  Decode() fails with kCorrupt and stays within `out` whatever it reads.
// Format:  docs/format/pack.md, "Encodings".
#pragma once

#include <array>
#include <memory>

#include "store/base/bytes.h"
#include "store/base/result.h"

namespace varve {

// How a stream is kept. Values are on disk; never reuse one.
enum class StreamMethod : uint8_t {
  kRaw = 0,
  kZstd = 1,      // one zstd frame
  kConstant = 2,  // one byte, all of them
};
inline constexpr unsigned kStreamMethods = 3;

// What a writer tries on a stream.
enum class StreamEffort : uint8_t {
  kStore,    // nothing
  kHuffman,  // no repetitions are expected
  kMatch,    // repetitions too
};

struct StoredStream {
  StreamMethod method = StreamMethod::kRaw;
  uint32_t stored_bytes = 0;
};

// How often each byte value occurs.
class ByteCounts {
 public:
  void Add(ByteView bytes) {
    for (const uint8_t byte : bytes) ++counts_[byte];
    total_ += bytes.size();
  }
  // Of one byte, in bits, as an order-0 coder with whole bits could reach it: at least 1 unless
  // there is one value only. 0 when there are none.
  double HuffmanBits() const;
  // Without that limit.
  double EntropyBits() const;

 private:
  std::array<uint32_t, 256> counts_{};
  size_t total_ = 0;
};

class StreamEncoder {
 public:
  StreamEncoder();
  ~StreamEncoder();
  StreamEncoder(const StreamEncoder&) = delete;
  StreamEncoder& operator=(const StreamEncoder&) = delete;

  // Room that Encode() needs for `bytes` bytes.
  static size_t Bound(size_t bytes);

  // Writes the stream to the start of `out`; raw when nothing was gained.
  // REQUIRES: out.size() >= Bound(bytes.size()).
  StoredStream Encode(ByteView bytes, StreamEffort effort, MutableBytes out);

  // The size after an ordinary trial with zstd; 0 when that fails. Uses `out` as above.
  size_t Compress(ByteView bytes, MutableBytes out);

 private:
  struct Contexts;
  std::unique_ptr<Contexts> contexts_;
};

class StreamDecoder {
 public:
  StreamDecoder();
  ~StreamDecoder();
  StreamDecoder(const StreamDecoder&) = delete;
  StreamDecoder& operator=(const StreamDecoder&) = delete;

  // Fills `out`, which does not overlap `stored`.
  Status Decode(StreamMethod method, ByteView stored, MutableBytes out);

 private:
  struct Context;
  std::unique_ptr<Context> context_;
};

}  // namespace varve
