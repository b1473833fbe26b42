#include "store/codec/literals.h"

#include <algorithm>
#include <array>
#include <bit>
#include <optional>

#include "store/codec/simd.h"

namespace varve {
namespace {

constexpr size_t kValues = kLiteralMax + 1;
constexpr unsigned kCodeBitsMax = 11;
constexpr size_t kBlockBytesMax = 128 << 10;
constexpr size_t kBytesMin = 256;
// Of frame, block and literals; the description of the code; the sizes of the streams.
constexpr size_t kFrameHeaderBytes = 9;
constexpr size_t kBlockHeaderBytes = 3;
constexpr size_t kLiteralsHeaderBytes = 5;
constexpr size_t kCodeBytesMax = 1 + kLiteralMax / 2;
constexpr size_t kStreamSizesBytes = 6;
// What a stream may write behind its end.
constexpr size_t kOverrunBytes = 16;

using Counts = std::array<uint32_t, 256>;
using Lengths = std::array<uint8_t, kValues>;

struct Code {
  std::array<uint32_t, 256> words{};  // bits | length << 16
  Lengths lengths{};
  unsigned value_min = kValues;  // the smallest and the largest that occur
  unsigned value_max = 0;
  unsigned bits_max = 0;
};

void PutLittle(uint8_t* out, uint64_t value, size_t bytes) {
  for (size_t i = 0; i < bytes; ++i) out[i] = static_cast<uint8_t>(value >> (8 * i));
}

Counts Count(ByteView bytes) {
  // Eight tables: equal neighbours would wait for each other.
  std::array<Counts, 8> tables{};
  size_t i = 0;
  for (; i + 8 <= bytes.size(); i += 8) {
    uint64_t word;
    std::memcpy(&word, bytes.data() + i, sizeof(word));
#pragma GCC unroll 8
    for (unsigned k = 0; k < 8; ++k) ++tables[k][word >> (8 * k) & 0xff];
  }
  for (; i < bytes.size(); ++i) ++tables[0][bytes[i]];
  for (size_t value = 0; value < 256; ++value) {
    for (unsigned t = 1; t < 8; ++t) tables[0][value] += tables[t][value];
  }
  return tables[0];
}

struct Leaf {
  uint32_t count;
  uint8_t value;
};

// Huffman's lengths of sorted leaves, the rarest first, by two queues.
void BuildLengths(const std::array<Leaf, kValues>& leaves, size_t size,
                  std::array<uint8_t, kValues>& lengths) {
  std::array<uint32_t, 2 * kValues> weights;
  std::array<uint16_t, 2 * kValues> parents;
  for (size_t i = 0; i < size; ++i) weights[i] = leaves[i].count;
  size_t leaf = 0, inner = size;
  const size_t root = 2 * size - 2;
  for (size_t node = size; node <= root; ++node) {
    weights[node] = 0;
    for (int child = 0; child < 2; ++child) {
      const bool is_leaf = leaf < size && (inner >= node || weights[leaf] <= weights[inner]);
      const size_t taken = is_leaf ? leaf++ : inner++;
      weights[node] += weights[taken];
      parents[taken] = static_cast<uint16_t>(node);
    }
  }
  std::array<uint8_t, 2 * kValues> depths;
  depths[root] = 0;
  for (size_t node = root; node-- > 0;) {
    depths[node] = static_cast<uint8_t>(depths[parents[node]] + 1);
    if (node < size) lengths[node] = depths[node];
  }
}

// No length above kCodeBitsMax, and the code is complete again.
void LimitLengths(size_t size, std::array<uint8_t, kValues>& lengths) {
  constexpr uint32_t kWhole = 1u << kCodeBitsMax;
  uint32_t used = 0;
  for (size_t i = 0; i < size; ++i) {
    lengths[i] = std::min<uint8_t>(lengths[i], kCodeBitsMax);
    used += kWhole >> lengths[i];
  }
  // Too much is used: the rarest that are not yet longest grow.
  while (used > kWhole) {
    size_t i = 0;
    while (lengths[i] == kCodeBitsMax) ++i;
    used -= kWhole >> ++lengths[i];
  }
  // What was taken too much goes to the most frequent that it suffices for.
  for (size_t i = size; i-- > 0 && used < kWhole;) {
    while (lengths[i] > 1 && used + (kWhole >> lengths[i]) <= kWhole) {
      used += kWhole >> lengths[i]--;
    }
  }
}

// REQUIRES: at least two values occur, none above kLiteralMax.
Code BuildCode(const Counts& counts) {
  Code code;
  std::array<Leaf, kValues> leaves;
  size_t size = 0;
  for (size_t value = 0; value < kValues; ++value) {
    if (counts[value] == 0) continue;
    leaves[size++] = {counts[value], static_cast<uint8_t>(value)};
    code.value_min = std::min(code.value_min, static_cast<unsigned>(value));
    code.value_max = static_cast<unsigned>(value);
  }
  std::sort(leaves.begin(), leaves.begin() + static_cast<ptrdiff_t>(size),
            [](const Leaf& a, const Leaf& b) {
              return a.count != b.count ? a.count < b.count : a.value < b.value;
            });
  Lengths sorted{};
  BuildLengths(leaves, size, sorted);
  LimitLengths(size, sorted);
  for (size_t i = 0; i < size; ++i) {
    code.lengths[leaves[i].value] = sorted[i];
    code.bits_max = std::max<unsigned>(code.bits_max, sorted[i]);
  }
  // Codes ascend from the longest to the shortest, by value within a length.
  uint32_t next = 0;
  for (unsigned length = code.bits_max; length > 0; --length) {
    for (size_t value = 0; value <= code.value_max; ++value) {
      if (code.lengths[value] == length) code.words[value] = next++ | uint32_t{length} << 16;
    }
    next >>= 1;
  }
  return code;
}

// The weights of all values but the largest, two in a byte.
size_t WriteCode(const Code& code, uint8_t* out) {
  const auto weight = [&](size_t value) -> unsigned {
    if (value >= code.value_max || code.lengths[value] == 0) return 0;
    return code.bits_max + 1 - code.lengths[value];
  };
  out[0] = static_cast<uint8_t>(127 + code.value_max);
  const size_t bytes = (code.value_max + 1) / 2;
  for (size_t i = 0; i < bytes; ++i) {
    out[1 + i] = static_cast<uint8_t>(weight(2 * i) << 4 | weight(2 * i + 1));
  }
  return 1 + bytes;
}

// One stream, written from its last byte to its first.
struct StreamWriter {
  const uint8_t* first;
  const uint8_t* last;
  uint8_t* out;
  uint64_t bits = 0;
  unsigned fill = 0;  // below 8 between rounds

  void Add(const uint32_t* words, uint8_t value) {
    const uint32_t word = words[value];
    bits |= uint64_t{word & 0xffff} << fill;
    fill += word >> 16;
  }
  // Writes up to kOverrunBytes more than there are.
  void Flush() {
    std::memcpy(out, &bits, sizeof(bits));
    out += fill / 8;
    bits >>= fill & ~7u;
    fill &= 7;
  }
  void AddFour(const uint32_t* words) {
    last -= 4;
    // At most 7 + 4 * 11 bits.
    Add(words, last[3]);
    Add(words, last[2]);
    Add(words, last[1]);
    Add(words, last[0]);
    Flush();
  }
  // The end of the stream.
  uint8_t* Finish(const uint32_t* words) {
    while (last - first >= 4) AddFour(words);
    while (last != first) {
      Add(words, *--last);
      Flush();
    }
    bits |= uint64_t{1} << fill++;
    std::memcpy(out, &bits, sizeof(bits));
    return out + (fill + 7) / 8;
  }
};

// Of values that are near each other the codes of two at a time, from a table.
constexpr size_t kPairValues = 65;
// Bytes for each entry of the table that make it worth its making.
constexpr size_t kPairWorth = 8;
struct Pairs {
  size_t none;                                            // where (0, 0) would be, before the table
  std::array<uint32_t, kPairValues * kPairValues> words;  // bits | length << 24

  explicit Pairs(const Code& code) : none(code.value_min * (kPairValues + 1)) {
    for (size_t second = code.value_min; second <= code.value_max; ++second) {
      const uint32_t word = code.words[second];
      const unsigned length = word >> 16;
      for (size_t first = code.value_min; first <= code.value_max; ++first) {
        const uint32_t behind = code.words[first];
        words[first * kPairValues + second - none] =
            (word & 0xffff) | (behind & 0xffff) << length | ((behind >> 16) + length) << 24;
      }
    }
  }
  uint32_t At(const uint8_t* two) const { return words[two[0] * kPairValues + two[1] - none]; }
};

// As StreamWriter::AddFour().
inline void AddTwoPairs(StreamWriter& writer, const Pairs& pairs) {
  writer.last -= 4;
  const uint32_t second = pairs.At(writer.last + 2);
  const uint32_t first = pairs.At(writer.last);
  // Put together before they meet what all wait for.
  const uint64_t both = (second & 0xffffff) | uint64_t{first & 0xffffff} << (second >> 24);
  writer.bits |= both << writer.fill;
  writer.fill += (second >> 24) + (first >> 24);
  writer.Flush();
}

struct TwoEnds {
  uint8_t* first;
  uint8_t* second;
};

// Two streams at a time: each alone waits for its own bits.
VARVE_BMI2 TwoEnds WriteTwo(StreamWriter first, StreamWriter second, const uint32_t* words) {
  StreamWriter a = first, b = second;
  while (a.last - a.first >= 4 && b.last - b.first >= 4) {
    a.AddFour(words);
    b.AddFour(words);
  }
  return {a.Finish(words), b.Finish(words)};
}

VARVE_BMI2 TwoEnds WriteTwoByPairs(StreamWriter first, StreamWriter second, const uint32_t* words,
                                   const Pairs& pairs) {
  StreamWriter a = first, b = second;
  while (a.last - a.first >= 4 && b.last - b.first >= 4) {
    AddTwoPairs(a, pairs);
    AddTwoPairs(b, pairs);
  }
  return {a.Finish(words), b.Finish(words)};
}

// The literals section and the empty sequences section; 0 when it cannot.
size_t WriteBlock(ByteView bytes, uint8_t* out) {
  const Counts counts = Count(bytes);
  if (std::any_of(counts.begin() + kValues, counts.end(), [](uint32_t n) { return n != 0; })) {
    return 0;
  }
  if (std::count_if(counts.begin(), counts.end(), [](uint32_t n) { return n != 0; }) < 2) return 0;
  const Code code = BuildCode(counts);
  uint8_t* to = out + kLiteralsHeaderBytes;
  to += WriteCode(code, to);
  uint8_t* const sizes = to;
  to += kStreamSizesBytes;
  std::optional<Pairs> pairs;
  const size_t values = code.value_max - code.value_min + 1;
  if (values <= kPairValues && bytes.size() >= kPairWorth * values * values) pairs.emplace(code);
  const size_t quarter = (bytes.size() + 3) / 4;
  const size_t apart = quarter * kCodeBitsMax / 8 + kOverrunBytes;
  for (size_t i = 0; i < 4; i += 2) {
    const uint8_t* first = bytes.data() + i * quarter;
    const uint8_t* second = first + quarter;
    const uint8_t* last = i == 2 ? bytes.data() + bytes.size() : second + quarter;
    const StreamWriter one{first, second, to}, other{second, last, to + apart};
    const TwoEnds ends = pairs ? WriteTwoByPairs(one, other, code.words.data(), *pairs)
                               : WriteTwo(one, other, code.words.data());
    const auto size_first = static_cast<size_t>(ends.first - to);
    const auto size_second = static_cast<size_t>(ends.second - (to + apart));
    std::memmove(ends.first, to + apart, size_second);
    PutLittle(sizes + 2 * i, size_first, 2);
    if (i == 0) PutLittle(sizes + 2, size_second, 2);
    to = ends.first + size_second;
  }
  const auto compressed =
      static_cast<uint64_t>(to - out - static_cast<ptrdiff_t>(kLiteralsHeaderBytes));
  // Compressed literals in four streams, sizes of 18 bits.
  PutLittle(out, 2 | 3 << 2 | uint64_t{bytes.size()} << 4 | compressed << 22, kLiteralsHeaderBytes);
  *to++ = 0;  // sequences
  return static_cast<size_t>(to - out);
}

}  // namespace

size_t LiteralsBound(size_t bytes) {
  const size_t blocks = bytes / kBlockBytesMax + 1;
  // A code of at most 11 bits, but better than 8 on average: no worse than one of fixed length.
  return kFrameHeaderBytes + bytes * kCodeBitsMax / 8 +
         blocks * (kBlockHeaderBytes + kLiteralsHeaderBytes + kCodeBytesMax + kStreamSizesBytes +
                   4 * kOverrunBytes) +
         kOverrunBytes;
}

size_t WriteLiterals(ByteView bytes, MutableBytes out) {
  if (bytes.size() < kBytesMin) return 0;
  // Its magic number; the content is a single segment and has a size of four bytes.
  PutLittle(out.data(), 0xa0fd2fb528, 5);
  PutLittle(out.data() + 5, bytes.size(), 4);
  uint8_t* to = out.data() + kFrameHeaderBytes;
  // Blocks of one size: none is small.
  const size_t blocks = (bytes.size() + kBlockBytesMax - 1) / kBlockBytesMax;
  for (size_t i = 0; i < blocks; ++i) {
    const size_t first = bytes.size() * i / blocks, last = bytes.size() * (i + 1) / blocks;
    const size_t size = WriteBlock(bytes.subspan(first, last - first), to + kBlockHeaderBytes);
    if (size == 0 || size >= last - first) return 0;
    PutLittle(to, (i + 1 == blocks ? 1u : 0u) | 2u << 1 | size << 3, kBlockHeaderBytes);
    to += kBlockHeaderBytes + size;
  }
  return static_cast<size_t>(to - out.data());
}

}  // namespace varve
