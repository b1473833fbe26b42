#include "store/codec/byte_planes.h"

#ifdef VARVE_X86
#include <immintrin.h>
#endif

#include <cstring>

#include "store/base/check.h"

namespace varve {
namespace {

// The sign moved from the top to behind the eight bits below it, and back.
template <typename Word>
constexpr unsigned kTop = 8 * sizeof(Word) - 1;
template <typename Word>
constexpr Word kBelow = (Word{1} << (kTop<Word> - 8)) - 1;
template <typename Word>
Word SignDown(Word word) {
  const Word sign = static_cast<Word>(word >> kTop<Word>);
  const Word upper =
      static_cast<Word>(word << 1) & static_cast<Word>(Word{0xff} << (kTop<Word> - 7));
  return static_cast<Word>(upper | sign << (kTop<Word> - 8) | (word & kBelow<Word>));
}
template <typename Word>
Word SignUp(Word word) {
  const Word sign = static_cast<Word>(word >> (kTop<Word> - 8)) & 1;
  const Word upper =
      static_cast<Word>(word >> 1) & static_cast<Word>(Word{0xff} << (kTop<Word> - 8));
  return static_cast<Word>(upper | static_cast<Word>(sign << kTop<Word>) | (word & kBelow<Word>));
}

template <typename Word>
void SplitFrom(size_t first, ByteView raw, const PlanePointers& planes) {
  const size_t count = raw.size() / sizeof(Word);
  for (size_t i = first; i < count; ++i) {
    Word word;
    std::memcpy(&word, raw.data() + i * sizeof(Word), sizeof(Word));
    word = SignDown(word);
    for (unsigned p = 0; p < sizeof(Word); ++p) {
      planes[p][i] = static_cast<uint8_t>(word >> (8 * (sizeof(Word) - 1 - p)));
    }
  }
}

template <typename Word>
void MergeFrom(size_t first, const ConstPlanePointers& planes, MutableBytes out) {
  const size_t count = out.size() / sizeof(Word);
  for (size_t i = first; i < count; ++i) {
    Word word = 0;
    for (unsigned p = 0; p < sizeof(Word); ++p) {
      word = static_cast<Word>(word | Word{planes[p][i]} << (8 * (sizeof(Word) - 1 - p)));
    }
    word = SignUp(word);
    std::memcpy(out.data() + i * sizeof(Word), &word, sizeof(Word));
  }
}

#ifdef VARVE_X86

#define VARVE_AVX2 __attribute__((target("avx2")))

// Elements that one step of the vector loops takes.
constexpr size_t kStep = 32;

VARVE_AVX2 __m256i Load(const uint8_t* from) {
  return _mm256_loadu_si256(reinterpret_cast<const __m256i*>(from));
}
VARVE_AVX2 void Store(uint8_t* to, __m256i value) {
  _mm256_storeu_si256(reinterpret_cast<__m256i*>(to), value);
}

// Each returns how many elements it did: all but less than kStep.
VARVE_AVX2 size_t Split2Avx2(ByteView raw, const PlanePointers& planes) {
  const size_t count = raw.size() / 2 / kStep * kStep;
  const __m256i byte = _mm256_set1_epi16(0xff), sign = _mm256_set1_epi16(0x80);
  const __m256i rest = _mm256_set1_epi16(0x7f);
  for (size_t i = 0; i < count; i += kStep) {
    const __m256i a = Load(raw.data() + 2 * i);
    const __m256i b = Load(raw.data() + 2 * i + kStep);
    const __m256i high = _mm256_packus_epi16(_mm256_and_si256(_mm256_srli_epi16(a, 7), byte),
                                             _mm256_and_si256(_mm256_srli_epi16(b, 7), byte));
    const __m256i low = _mm256_packus_epi16(
        _mm256_or_si256(_mm256_and_si256(_mm256_srli_epi16(a, 8), sign), _mm256_and_si256(a, rest)),
        _mm256_or_si256(_mm256_and_si256(_mm256_srli_epi16(b, 8), sign),
                        _mm256_and_si256(b, rest)));
    // Packing works within halves: 0 2 1 3 to 0 1 2 3.
    Store(planes[0] + i, _mm256_permute4x64_epi64(high, 0xd8));
    Store(planes[1] + i, _mm256_permute4x64_epi64(low, 0xd8));
  }
  return count;
}

// Sixteen elements from their bytes side by side: exponent, sign, the rest.
VARVE_AVX2 __m256i SignUp2(__m256i v) {
  const __m256i exponent = _mm256_and_si256(_mm256_srli_epi16(v, 1), _mm256_set1_epi16(0x7f80));
  const __m256i sign = _mm256_slli_epi16(_mm256_and_si256(v, _mm256_set1_epi16(0x80)), 8);
  const __m256i rest = _mm256_and_si256(v, _mm256_set1_epi16(0x7f));
  return _mm256_or_si256(_mm256_or_si256(exponent, sign), rest);
}

VARVE_AVX2 size_t Merge2Avx2(const ConstPlanePointers& planes, MutableBytes out) {
  const size_t count = out.size() / 2 / kStep * kStep;
  for (size_t i = 0; i < count; i += kStep) {
    const __m256i high = _mm256_permute4x64_epi64(Load(planes[0] + i), 0xd8);
    const __m256i low = _mm256_permute4x64_epi64(Load(planes[1] + i), 0xd8);
    Store(out.data() + 2 * i, SignUp2(_mm256_unpacklo_epi8(low, high)));
    Store(out.data() + 2 * i + kStep, SignUp2(_mm256_unpackhi_epi8(low, high)));
  }
  return count;
}

// Eight elements with their signs moved; in each half the four highest bytes, then the next ones,
// ….
VARVE_AVX2 __m256i Gather4(const uint8_t* from) {
  const __m256i v = Load(from);
  const __m256i moved = _mm256_or_si256(
      _mm256_or_si256(_mm256_and_si256(v, _mm256_set1_epi32(0x7fffff)),
                      _mm256_and_si256(_mm256_slli_epi32(v, 1), _mm256_set1_epi32(-0x1000000))),
      _mm256_and_si256(_mm256_srli_epi32(v, 8), _mm256_set1_epi32(0x800000)));
  const __m256i by_byte = _mm256_broadcastsi128_si256(
      _mm_setr_epi8(3, 7, 11, 15, 2, 6, 10, 14, 1, 5, 9, 13, 0, 4, 8, 12));
  return _mm256_shuffle_epi8(moved, by_byte);
}

VARVE_AVX2 size_t Split4Avx2(ByteView raw, const PlanePointers& planes) {
  const size_t count = raw.size() / 4 / kStep * kStep;
  const __m256i in_order = _mm256_setr_epi32(0, 4, 1, 5, 2, 6, 3, 7);
  for (size_t i = 0; i < count; i += kStep) {
    const uint8_t* from = raw.data() + 4 * i;
    const __m256i v0 = Gather4(from), v1 = Gather4(from + 32);
    const __m256i v2 = Gather4(from + 64), v3 = Gather4(from + 96);
    const __m256i high01 = _mm256_unpacklo_epi32(v0, v1), low01 = _mm256_unpackhi_epi32(v0, v1);
    const __m256i high23 = _mm256_unpacklo_epi32(v2, v3), low23 = _mm256_unpackhi_epi32(v2, v3);
    const __m256i p0 = _mm256_unpacklo_epi64(high01, high23);
    const __m256i p1 = _mm256_unpackhi_epi64(high01, high23);
    const __m256i p2 = _mm256_unpacklo_epi64(low01, low23);
    const __m256i p3 = _mm256_unpackhi_epi64(low01, low23);
    Store(planes[0] + i, _mm256_permutevar8x32_epi32(p0, in_order));
    Store(planes[1] + i, _mm256_permutevar8x32_epi32(p1, in_order));
    Store(planes[2] + i, _mm256_permutevar8x32_epi32(p2, in_order));
    Store(planes[3] + i, _mm256_permutevar8x32_epi32(p3, in_order));
  }
  return count;
}

VARVE_AVX2 void StoreUp4(uint8_t* to, __m256i v) {
  const __m256i moved = _mm256_or_si256(
      _mm256_or_si256(_mm256_and_si256(v, _mm256_set1_epi32(0x7fffff)),
                      _mm256_and_si256(_mm256_srli_epi32(v, 1), _mm256_set1_epi32(0x7f800000))),
      _mm256_slli_epi32(_mm256_and_si256(v, _mm256_set1_epi32(0x800000)), 8));
  Store(to, moved);
}

VARVE_AVX2 size_t Merge4Avx2(const ConstPlanePointers& planes, MutableBytes out) {
  const size_t count = out.size() / 4 / kStep * kStep;
  const __m256i apart = _mm256_setr_epi32(0, 2, 4, 6, 1, 3, 5, 7);
  for (size_t i = 0; i < count; i += kStep) {
    const __m256i p0 = _mm256_permutevar8x32_epi32(Load(planes[0] + i), apart);
    const __m256i p1 = _mm256_permutevar8x32_epi32(Load(planes[1] + i), apart);
    const __m256i p2 = _mm256_permutevar8x32_epi32(Load(planes[2] + i), apart);
    const __m256i p3 = _mm256_permutevar8x32_epi32(Load(planes[3] + i), apart);
    const __m256i low_a = _mm256_unpacklo_epi8(p3, p2), low_b = _mm256_unpackhi_epi8(p3, p2);
    const __m256i high_a = _mm256_unpacklo_epi8(p1, p0), high_b = _mm256_unpackhi_epi8(p1, p0);
    uint8_t* to = out.data() + 4 * i;
    StoreUp4(to, _mm256_unpacklo_epi16(low_a, high_a));
    StoreUp4(to + 32, _mm256_unpackhi_epi16(low_a, high_a));
    StoreUp4(to + 64, _mm256_unpacklo_epi16(low_b, high_b));
    StoreUp4(to + 96, _mm256_unpackhi_epi16(low_b, high_b));
  }
  return count;
}

#endif  // VARVE_X86

}  // namespace

void SplitPlanes(unsigned width, ByteView raw, const PlanePointers& planes,
                 [[maybe_unused]] Simd simd) {
  size_t done = 0;
#ifdef VARVE_X86
  if (simd == Simd::kAvx2 && width == 2) done = Split2Avx2(raw, planes);
  if (simd == Simd::kAvx2 && width == 4) done = Split4Avx2(raw, planes);
#endif
  switch (width) {
    case 2:
      return SplitFrom<uint16_t>(done, raw, planes);
    case 4:
      return SplitFrom<uint32_t>(done, raw, planes);
    case 8:
      return SplitFrom<uint64_t>(done, raw, planes);
    default:
      CHECK(false);
  }
}

void MergePlanes(unsigned width, const ConstPlanePointers& planes, MutableBytes out,
                 [[maybe_unused]] Simd simd) {
  size_t done = 0;
#ifdef VARVE_X86
  if (simd == Simd::kAvx2 && width == 2) done = Merge2Avx2(planes, out);
  if (simd == Simd::kAvx2 && width == 4) done = Merge4Avx2(planes, out);
#endif
  switch (width) {
    case 2:
      return MergeFrom<uint16_t>(done, planes, out);
    case 4:
      return MergeFrom<uint32_t>(done, planes, out);
    case 8:
      return MergeFrom<uint64_t>(done, planes, out);
    default:
      CHECK(false);
  }
}

}  // namespace varve
