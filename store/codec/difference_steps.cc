#include "store/codec/difference_steps.h"

#include <algorithm>
#include <bit>
#include <cstring>
#include <type_traits>

#include "store/base/check.h"

#ifdef VARVE_X86
#include <immintrin.h>
#endif

namespace varve {
namespace {

// Tails are made from as many steps at once, in two passes.
constexpr size_t kRun = 1024;

// What the loops know of the elements.
template <typename Bits, unsigned kMantissaBits>
struct Layout {
  using Word = Bits;
  static constexpr unsigned kMantissa = kMantissaBits;
  static constexpr unsigned kExponentMask = (1u << (8 * sizeof(Bits) - 1 - kMantissaBits)) - 1;
  static constexpr int32_t kMagnitude = static_cast<int32_t>(~uint32_t{0} >> 1) >>
                                        (32 - 8 * sizeof(Bits));
};
using F16 = Layout<uint16_t, 10>;
using BF16 = Layout<uint16_t, 7>;
using F32 = Layout<uint32_t, 23>;

// Calls f with the layout of `elements`, which has steps.
template <typename F>
auto WithLayout(ElementType elements, F f) {
  if (elements == ElementType::kF16) return f(F16());
  if (elements == ElementType::kBF16) return f(BF16());
  CHECK(elements == ElementType::kF32);
  return f(F32());
}

template <typename L>
typename L::Word Load(const uint8_t* from, size_t i) {
  typename L::Word word;
  std::memcpy(&word, from + i * sizeof(word), sizeof(word));
  return word;
}

// Its own inverse: negative numbers get their other bits turned round.
template <typename L>
int32_t Monotone(typename L::Word bits) {
  const auto value = static_cast<int32_t>(static_cast<std::make_signed_t<typename L::Word>>(bits));
  return value ^ (value >> 31 & L::kMagnitude);
}

template <typename L>
unsigned Exponent(typename L::Word bits) {
  return bits >> L::kMantissa & L::kExponentMask;
}

// A run of steps between the passes: the tails of two elements together.
struct Run {
  alignas(32) uint64_t tails[kRun / 2];
  alignas(32) uint64_t bits[kRun / 2];
  unsigned bits_max = 0;  // or a little more, of one element

  void Put(size_t i, uint64_t tail, unsigned count) {
    if (i % 2 == 0) {
      tails[i / 2] = tail;
      bits[i / 2] = count;
    } else {
      tails[i / 2] |= tail << bits[i / 2];
      bits[i / 2] += count;
    }
    bits_max = std::max(bits_max, count);
  }
};

template <typename L>
void TakeRun(StepClass by, const uint8_t* raw, const uint8_t* base, size_t begin, size_t count,
             uint8_t* classes, Run& run) {
  for (size_t i = begin; i < count; ++i) {
    const auto base_bits = Load<L>(base, i);
    const auto step = static_cast<uint32_t>(Monotone<L>(Load<L>(raw, i))) -
                      static_cast<uint32_t>(Monotone<L>(base_bits));
    const uint32_t sign = step >> 31;
    const uint32_t size = sign != 0 ? 0 - step : step;
    const auto bits = static_cast<unsigned>(std::bit_width(size));
    const unsigned shift = by == StepClass::kExponent ? Exponent<L>(base_bits) : 0;
    run.Put(i, bits == 0 ? 0 : (size - (uint32_t{1} << (bits - 1))) << 1 | sign, bits);
    classes[i] = bits == 0 ? kNoStep : static_cast<uint8_t>((bits + shift) & 63);
  }
}

#ifdef VARVE_X86
template <typename L>
__attribute__((target("avx2"))) __m256i LoadEight(const uint8_t* from) {
  if constexpr (sizeof(typename L::Word) == 2)
    return _mm256_cvtepi16_epi32(_mm_loadu_si128(reinterpret_cast<const __m128i*>(from)));
  else
    return _mm256_loadu_si256(reinterpret_cast<const __m256i*>(from));
}

template <typename L>
__attribute__((target("avx2"))) __m256i MonotoneEight(__m256i value) {
  const __m256i turned =
      _mm256_and_si256(_mm256_srai_epi32(value, 31), _mm256_set1_epi32(L::kMagnitude));
  return _mm256_xor_si256(value, turned);
}

// The low bytes of eight numbers.
__attribute__((target("avx2"))) inline void StoreBytes(__m256i numbers, uint8_t* to) {
  const __m128i words =
      _mm_packus_epi32(_mm256_castsi256_si128(numbers), _mm256_extracti128_si256(numbers, 1));
  _mm_storel_epi64(reinterpret_cast<__m128i*>(to), _mm_packus_epi16(words, words));
}

// As TakeRun(), eight at a time; returns how many were done.
template <typename L>
__attribute__((target("avx2"))) size_t TakeRunAvx2(StepClass by, const uint8_t* raw,
                                                   const uint8_t* base, size_t count,
                                                   uint8_t* classes, Run& run) {
  const __m256i one = _mm256_set1_epi32(1);
  const __m256i by_exponent = _mm256_set1_epi32(by == StepClass::kExponent ? -1 : 0);
  const __m256i even = _mm256_set1_epi64x(0xffffffff);
  __m256i bits_seen = _mm256_setzero_si256();
  size_t i = 0;
  for (; i + 8 <= count; i += 8) {
    const __m256i base_bits = LoadEight<L>(base + i * sizeof(typename L::Word));
    const __m256i new_bits = LoadEight<L>(raw + i * sizeof(typename L::Word));
    const __m256i step = _mm256_sub_epi32(MonotoneEight<L>(new_bits), MonotoneEight<L>(base_bits));
    const __m256i size = _mm256_abs_epi32(step);
    // The exponent of the size as a float. Without the bit below its first one it is not rounded
    // up to the next power of two. 2^31 is negative, and the only one.
    const __m256i safe = _mm256_andnot_si256(_mm256_srli_epi32(size, 1), size);
    const __m256i exponent = _mm256_srli_epi32(_mm256_castps_si256(_mm256_cvtepi32_ps(safe)), 23);
    __m256i bits = _mm256_sub_epi32(_mm256_and_si256(exponent, _mm256_set1_epi32(0xff)),
                                    _mm256_set1_epi32(126));
    bits = _mm256_max_epi32(bits, _mm256_setzero_si256());
    const __m256i same = _mm256_cmpeq_epi32(bits, _mm256_setzero_si256());
    const __m256i first = _mm256_sllv_epi32(one, _mm256_sub_epi32(bits, one));  // 0 of 0 bits
    const __m256i sign = _mm256_srli_epi32(step, 31);
    const __m256i tail = _mm256_or_si256(_mm256_slli_epi32(_mm256_sub_epi32(size, first), 1), sign);
    const __m256i shift =
        _mm256_and_si256(by_exponent, _mm256_and_si256(_mm256_srli_epi32(base_bits, L::kMantissa),
                                                       _mm256_set1_epi32(L::kExponentMask)));
    const __m256i class_ = _mm256_and_si256(_mm256_add_epi32(bits, shift), _mm256_set1_epi32(63));
    const __m256i even_bits = _mm256_and_si256(bits, even);
    const __m256i odd_tail = _mm256_sllv_epi64(_mm256_srli_epi64(tail, 32), even_bits);
    _mm256_store_si256(reinterpret_cast<__m256i*>(run.tails + i / 2),
                       _mm256_or_si256(_mm256_and_si256(tail, even), odd_tail));
    _mm256_store_si256(reinterpret_cast<__m256i*>(run.bits + i / 2),
                       _mm256_add_epi64(even_bits, _mm256_srli_epi64(bits, 32)));
    bits_seen = _mm256_or_si256(bits_seen, bits);
    StoreBytes(_mm256_blendv_epi8(class_, _mm256_set1_epi32(kNoStep), same), classes + i);
  }
  alignas(32) uint32_t seen[8];
  _mm256_store_si256(reinterpret_cast<__m256i*>(seen), bits_seen);
  for (const uint32_t bits : seen) run.bits_max |= bits;
  return i;
}
#endif

// Bits one after the other, the lowest first.
struct TailWriter {
  // With a fill of 7 these are less than a word.
  static constexpr unsigned kBitsMax = 56;

  uint8_t* out;
  uint64_t bits = 0;
  unsigned fill = 0;  // below 8 between tails

  void Add(uint64_t tail, unsigned count) {
    bits |= tail << fill;
    fill += count;
    std::memcpy(out, &bits, sizeof(bits));
    out += fill / 8;
    bits >>= fill & ~7u;
    fill &= 7;
  }
};

// The tails of `count` elements.
VARVE_BMI2 TailWriter AddRun(TailWriter writer, const Run& run, size_t count) {
  const size_t pairs = (count + 1) / 2;
  size_t i = 0;
  if (2 * run.bits_max <= TailWriter::kBitsMax) {
    // Each addition waits for the one before it, so four elements at once where they fit.
    for (; i + 2 <= pairs; i += 2) {
      const auto first = static_cast<unsigned>(run.bits[i]);
      const auto both = first + static_cast<unsigned>(run.bits[i + 1]);
      if (both <= TailWriter::kBitsMax) {
        writer.Add(run.tails[i] | run.tails[i + 1] << first, both);
      } else {
        writer.Add(run.tails[i], first);
        writer.Add(run.tails[i + 1], both - first);
      }
    }
  }
  for (; i < pairs; ++i) {
    const auto bits = static_cast<unsigned>(run.bits[i]);
    const unsigned low = std::min(bits, 32u);
    writer.Add(run.tails[i] & 0xffffffff, low);
    writer.Add(run.tails[i] >> 32, bits - low);
  }
  return writer;
}

// What a reader may read at most for one tail, corrupt ones included.
constexpr size_t kReachBytes = 16;

class TailReader {
 public:
  explicit TailReader(ByteView tails) : tails_(tails), bits_left_(tails.size() * 8) {}

  // The next `count` bits, at most 63 of which the lower 57 are right.
  // REQUIRES: RoomFor() at least these.
  uint64_t Take(unsigned count) {
    uint64_t word;
    std::memcpy(&word, tails_.data() + (at_ >> 3), sizeof(word));
    word >>= at_ & 7;
    at_ += count;
    return word & ((uint64_t{1} << count) - 1);
  }
  // Near the end.
  uint64_t TakeCarefully(unsigned count) {
    uint8_t bytes[kReachBytes] = {};
    const size_t first = std::min<size_t>(at_ >> 3, tails_.size());
    const size_t size = std::min(tails_.size() - first, sizeof(bytes));
    std::copy_n(tails_.begin() + static_cast<ptrdiff_t>(first), size, bytes);
    uint64_t word;
    std::memcpy(&word, bytes, sizeof(word));
    word >>= at_ & 7;
    at_ += count;
    return word & ((uint64_t{1} << count) - 1);
  }
  // Where the next bit is: its byte, and which one of that.
  const uint8_t* byte() const { return tails_.data() + (at_ >> 3); }
  uint32_t bit() const { return at_ & 7; }
  void Skip(size_t count) { at_ += count; }
  bool RoomFor(size_t count) const { return at_ + count * 63 + 8 * kReachBytes <= bits_left_; }
  // Everything was read, and only bits that are there.
  bool Finished() const { return (at_ + 7) / 8 == tails_.size(); }

 private:
  const ByteView tails_;
  const size_t bits_left_;
  size_t at_ = 0;
};

// `bits` and its tail to the base's element.
template <typename L>
typename L::Word Apply(typename L::Word base, unsigned bits, uint64_t tail) {
  const auto first = static_cast<uint32_t>(uint64_t{1} << bits >> 1);
  const uint32_t size = static_cast<uint32_t>(tail >> 1) + first;
  const uint32_t minus = 0 - static_cast<uint32_t>(tail & 1);
  const auto moved =
      static_cast<int32_t>(static_cast<uint32_t>(Monotone<L>(base)) + ((size ^ minus) - minus));
  return static_cast<typename L::Word>(moved ^ (moved >> 31 & L::kMagnitude));
}

template <typename L>
unsigned BitsOf(uint8_t step_class, unsigned exponent_mask, typename L::Word base) {
  const unsigned bits = (step_class - (Exponent<L>(base) & exponent_mask)) & 63;
  return step_class == kNoStep ? 0 : bits;
}

#ifdef VARVE_X86
// A tail of so many bits lies in four bytes wherever it begins.
constexpr int kGatheredBitsMax = 25;

template <typename L>
__attribute__((target("avx2"))) void StoreEight(__m256i numbers, uint8_t* to) {
  if constexpr (sizeof(typename L::Word) == 2) {
    // The low halves; what saturates is not wanted.
    const __m256i low = _mm256_and_si256(numbers, _mm256_set1_epi32(0xffff));
    const __m128i words =
        _mm_packus_epi32(_mm256_castsi256_si128(low), _mm256_extracti128_si256(low, 1));
    _mm_storeu_si128(reinterpret_cast<__m128i*>(to), words);
  } else {
    _mm256_storeu_si256(reinterpret_cast<__m256i*>(to), numbers);
  }
}

// Steps of eight elements at a time, `count` of them at most; returns how many were made. Stops
// before longer tails than can be gathered, impossible ones included.
// REQUIRES: reader.RoomFor(count).
template <typename L>
__attribute__((target("avx2"))) size_t MakeRunAvx2(unsigned exponent_mask, const uint8_t* base,
                                                   const uint8_t* classes, size_t count,
                                                   TailReader& reader, uint8_t* out) {
  constexpr size_t kWidth = sizeof(typename L::Word);
  const __m256i one = _mm256_set1_epi32(1);
  const __m256i mask = _mm256_set1_epi32(static_cast<int>(exponent_mask & L::kExponentMask));
  size_t i = 0;
  for (; i + 8 <= count; i += 8) {
    const __m256i from = LoadEight<L>(base + i * kWidth);
    const __m256i class_ =
        _mm256_cvtepu8_epi32(_mm_loadl_epi64(reinterpret_cast<const __m128i*>(classes + i)));
    const __m256i exponent = _mm256_and_si256(_mm256_srli_epi32(from, L::kMantissa), mask);
    __m256i bits = _mm256_and_si256(_mm256_sub_epi32(class_, exponent), _mm256_set1_epi32(63));
    bits = _mm256_andnot_si256(_mm256_cmpeq_epi32(class_, _mm256_set1_epi32(kNoStep)), bits);
    const __m256i long_ = _mm256_cmpgt_epi32(bits, _mm256_set1_epi32(kGatheredBitsMax));
    if (_mm256_testz_si256(long_, long_) == 0) break;
    // Where each tail ends, counted from the first.
    __m256i ends = _mm256_add_epi32(bits, _mm256_slli_si256(bits, 4));
    ends = _mm256_add_epi32(ends, _mm256_slli_si256(ends, 8));
    const __m256i half = _mm256_permutevar8x32_epi32(ends, _mm256_set1_epi32(3));
    ends = _mm256_add_epi32(ends, _mm256_blend_epi32(_mm256_setzero_si256(), half, 0b11110000));
    const __m256i begins = _mm256_add_epi32(_mm256_sub_epi32(ends, bits),
                                            _mm256_set1_epi32(static_cast<int>(reader.bit())));
    const __m256i words = _mm256_i32gather_epi32(reinterpret_cast<const int*>(reader.byte()),
                                                 _mm256_srli_epi32(begins, 3), 1);
    reader.Skip(static_cast<uint32_t>(_mm256_extract_epi32(ends, 7)));
    const __m256i power = _mm256_sllv_epi32(one, bits);
    const __m256i tail =
        _mm256_and_si256(_mm256_srlv_epi32(words, _mm256_and_si256(begins, _mm256_set1_epi32(7))),
                         _mm256_sub_epi32(power, one));
    const __m256i size = _mm256_add_epi32(_mm256_srli_epi32(tail, 1), _mm256_srli_epi32(power, 1));
    const __m256i minus = _mm256_sub_epi32(_mm256_setzero_si256(), _mm256_and_si256(tail, one));
    const __m256i step = _mm256_sub_epi32(_mm256_xor_si256(size, minus), minus);
    StoreEight<L>(MonotoneEight<L>(_mm256_add_epi32(MonotoneEight<L>(from), step)),
                  out + i * kWidth);
  }
  return i;
}
#endif

unsigned ExponentMask(StepClass by) { return by == StepClass::kExponent ? ~0u : 0u; }

}  // namespace

size_t TakeSteps(ElementType elements, StepClass by, ByteView raw, ByteView base, uint8_t* classes,
                 uint8_t* tails, Simd simd) {
  TailWriter writer{tails};
  WithLayout(elements, [&](auto layout) {
    using L = decltype(layout);
    constexpr size_t kWidth = sizeof(typename L::Word);
    const size_t count = raw.size() / kWidth;
    for (size_t i = 0; i < count; i += kRun) {
      const size_t size = std::min(kRun, count - i);
      const uint8_t* from = raw.data() + i * kWidth;
      const uint8_t* base_from = base.data() + i * kWidth;
      Run run;
      size_t done = 0;
#ifdef VARVE_X86
      if (simd == Simd::kAvx2) done = TakeRunAvx2<L>(by, from, base_from, size, classes + i, run);
#endif
      TakeRun<L>(by, from, base_from, done, size, classes + i, run);
      writer = AddRun(writer, run, size);
    }
  });
  (void)simd;
  return static_cast<size_t>(writer.out - tails) + (writer.fill + 7) / 8;
}

bool MakeSteps(ElementType elements, StepClass by, ByteView base, const uint8_t* classes,
               ByteView tails, MutableBytes out, Simd simd) {
  return WithLayout(elements, [&](auto layout) {
    using L = decltype(layout);
    constexpr size_t kWidth = sizeof(typename L::Word);
    constexpr size_t kBlock = 64;
    const size_t count = out.size() / kWidth;
    const unsigned exponent_mask = ExponentMask(by);
    TailReader reader(tails);
    unsigned bits_max = 0;
    for (size_t i = 0; i < count;) {
      const size_t end = std::min(i + kBlock, count);
      const bool room = reader.RoomFor(kBlock);
#ifdef VARVE_X86
      if (simd == Simd::kAvx2 && room)
        i += MakeRunAvx2<L>(exponent_mask, base.data() + i * kWidth, classes + i, end - i, reader,
                            out.data() + i * kWidth);
#endif
      const auto one = [&](auto take) {
        for (; i < end; ++i) {
          const auto from = Load<L>(base.data(), i);
          const unsigned bits = BitsOf<L>(classes[i], exponent_mask, from);
          bits_max |= bits > kTailBitsMax ? 64 : 0;
          const auto word = Apply<L>(from, bits, take(bits));
          std::memcpy(out.data() + i * kWidth, &word, kWidth);
        }
      };
      if (room)
        one([&](unsigned bits) { return reader.Take(bits); });
      else
        one([&](unsigned bits) { return reader.TakeCarefully(bits); });
    }
    (void)simd;
    return bits_max == 0 && reader.Finished();
  });
}

bool PatchSteps(ElementType elements, StepClass by, const uint32_t* places, const uint8_t* classes,
                size_t changed, ByteView tails, MutableBytes out) {
  return WithLayout(elements, [&](auto layout) {
    using L = decltype(layout);
    constexpr size_t kWidth = sizeof(typename L::Word);
    const unsigned exponent_mask = ExponentMask(by);
    TailReader reader(tails);
    for (size_t i = 0; i < changed; ++i) {
      const auto from = Load<L>(out.data(), places[i]);
      const unsigned bits = BitsOf<L>(classes[i], exponent_mask, from);
      if (bits > kTailBitsMax) return false;
      const auto word = Apply<L>(from, bits, reader.TakeCarefully(bits));
      std::memcpy(out.data() + places[i] * kWidth, &word, kWidth);
    }
    return reader.Finished();
  });
}

}  // namespace varve
