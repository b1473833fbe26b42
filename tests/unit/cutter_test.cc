#include "store/chunk/cutter.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <random>
#include <set>
#include <string>
#include <vector>

#include "store/chunk/fingerprint.h"

namespace varve {
namespace {

constexpr uint32_t kKiB = 1024;

std::vector<uint8_t> RandomBytes(size_t size, uint64_t seed) {
  std::mt19937_64 random(seed);
  std::vector<uint8_t> bytes(size);
  for (uint8_t& byte : bytes) byte = static_cast<uint8_t>(random());
  return bytes;
}

// English-like: words from a small vocabulary.
std::vector<uint8_t> TextBytes(size_t size, uint64_t seed) {
  std::mt19937_64 random(seed);
  std::vector<std::string> words;
  for (int i = 0; i < 2000; ++i) {
    std::string word;
    for (uint64_t n = 2 + random() % 8; n > 0; --n) word += static_cast<char>('a' + random() % 26);
    words.push_back(word + (random() % 12 == 0 ? "\n" : " "));
  }
  std::vector<uint8_t> bytes;
  while (bytes.size() < size) {
    const std::string& word = words[random() % words.size()];
    bytes.insert(bytes.end(), word.begin(), word.end());
  }
  bytes.resize(size);
  return bytes;
}

// The sizes of all chunks, cut through windows as the digester does.
std::vector<uint32_t> CutAll(Cutter& cutter, ByteView bytes) {
  std::vector<uint32_t> sizes;
  size_t offset = 0;
  while (offset < bytes.size()) {
    const size_t window = std::min<size_t>(kChunkBytesMax, bytes.size() - offset);
    sizes.push_back(cutter.Next(offset, bytes.subspan(offset, window)));
    EXPECT_GE(sizes.back(), 1u);
    EXPECT_LE(sizes.back(), window);
    offset += sizes.back();
  }
  return sizes;
}

std::set<ChunkId> Names(const std::vector<uint32_t>& sizes, ByteView bytes) {
  static const Fingerprinter fingerprinter(std::string(Fingerprinter::kSecretBytes, 's'));
  std::set<ChunkId> names;
  size_t offset = 0;
  for (const uint32_t size : sizes) {
    names.insert(fingerprinter.Name(bytes.subspan(offset, size)));
    offset += size;
  }
  return names;
}

TEST(FixedCutter, CountsFromTheStart) {
  const auto cutter = MakeFixedCutter(100);
  const std::vector<uint8_t> bytes(1000);
  EXPECT_EQ(cutter->Next(0, bytes), 100u);
  EXPECT_EQ(cutter->Next(250, bytes), 50u);
  EXPECT_EQ(cutter->Next(990, ByteView(bytes).first(10)), 10u);
  EXPECT_EQ(cutter->Next(900, ByteView(bytes).first(30)), 30u);
}

TEST(ContentCutter, KeepsItsBounds) {
  for (uint64_t seed = 1; seed <= 3; ++seed) {
    const std::vector<uint8_t> bytes = RandomBytes(24u << 20, seed);
    const auto cutter = MakeContentCutter();
    const std::vector<uint32_t> sizes = CutAll(*cutter, bytes);
    for (size_t i = 0; i + 1 < sizes.size(); ++i) {
      EXPECT_GT(sizes[i], 32 * kKiB);
      EXPECT_LE(sizes[i], 512 * kKiB);
    }
    const size_t average = bytes.size() / sizes.size();
    EXPECT_GT(average, 96 * kKiB) << "seed " << seed;
    EXPECT_LT(average, 192 * kKiB) << "seed " << seed;
  }
}

TEST(ContentCutter, UniformBytesAreCutAtTheMaximum) {
  const std::vector<uint8_t> bytes(2u << 20, 0);
  const auto cutter = MakeContentCutter();
  for (const uint32_t size : CutAll(*cutter, bytes)) EXPECT_EQ(size, 512 * kKiB);
}

TEST(ContentCutter, SmallContentsStayWhole) {
  const std::vector<uint8_t> bytes = RandomBytes(32 * kKiB, 7);
  const auto cutter = MakeContentCutter();
  for (const size_t size : {size_t{1}, size_t{100}, bytes.size()}) {
    EXPECT_EQ(cutter->Next(0, ByteView(bytes).first(size)), size);
  }
}

// The fast loop against the definition, one byte at a time.
TEST(ContentCutter, MatchesItsDefinition) {
  const auto gear = [] {
    std::vector<uint64_t> words;
    uint64_t state = 0x7661727665667331;
    for (int i = 0; i < 256; ++i) {
      state += 0x9e3779b97f4a7c15;
      uint64_t z = state;
      z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9;
      z = (z ^ (z >> 27)) * 0x94d049bb133111eb;
      words.push_back(z ^ (z >> 31));
    }
    return words;
  }();
  const auto define = [&](ByteView window) -> size_t {
    const size_t end = std::min<size_t>(window.size(), 512 * kKiB);
    uint64_t hash = 0;
    for (size_t i = 32 * kKiB; i < end; ++i) {
      hash = (hash << 1) + gear[window[i]];
      if (hash >> (64 - (i < 128 * kKiB ? 19 : 15)) == 0) return i + 1;
    }
    return end;
  };
  std::mt19937_64 random(5);
  const std::vector<uint8_t> noise = RandomBytes(8u << 20, 11);
  const std::vector<uint8_t> text = TextBytes(8u << 20, 12);
  for (const auto* bytes : {&noise, &text}) {
    const auto cutter = MakeContentCutter();
    for (int i = 0; i < 200; ++i) {
      const size_t offset = random() % bytes->size();
      size_t size = std::min<size_t>(bytes->size() - offset, kChunkBytesMax);
      if (i % 4 == 0) size = 1 + random() % size;
      const ByteView window = ByteView(*bytes).subspan(offset, size);
      ASSERT_EQ(cutter->Next(offset, window), define(window));
    }
  }
}

TEST(ContentCutter, FindsTheSameChunksBehindAnInsertion) {
  std::vector<uint8_t> bytes = TextBytes(16u << 20, 3);
  const auto cutter = MakeContentCutter();
  const std::set<ChunkId> before = Names(CutAll(*cutter, bytes), bytes);
  const std::string inserted = "one line that was not there\n";
  bytes.insert(bytes.begin() + 1'000'001, inserted.begin(), inserted.end());
  const std::set<ChunkId> after = Names(CutAll(*cutter, bytes), bytes);
  size_t shared = 0;
  for (const ChunkId& name : after) shared += before.count(name);
  EXPECT_GE(shared + 4, after.size());
}

// What a cutter chose shows in the first chunk of 8 MiB of text-like content:
// 512 KiB exactly when fixed.
uint32_t FirstCut(const std::string& magic, std::vector<uint8_t> bytes, uint64_t content_bytes) {
  std::copy(magic.begin(), magic.end(), bytes.begin());
  const auto cutter = ChooseCutter(content_bytes, ByteView(bytes).first(64 * kKiB));
  return cutter->Next(0, ByteView(bytes).first(std::min<uint64_t>(kChunkBytesMax, content_bytes)));
}

TEST(ChooseCutter, KnowsFormats) {
  const std::vector<uint8_t> text = TextBytes(2u << 20, 1);
  constexpr uint64_t kContentBytes = 2u << 20;
  EXPECT_NE(FirstCut("", text, kContentBytes), 512 * kKiB);
  EXPECT_EQ(FirstCut("PK\x03\x04", text, kContentBytes), 512 * kKiB);
  EXPECT_EQ(FirstCut("\x93NUMPY", text, kContentBytes), 512 * kKiB);
  EXPECT_EQ(FirstCut("GGUF", text, kContentBytes), 512 * kKiB);
  EXPECT_EQ(FirstCut("\x89HDF\r\n\x1a\n", text, kContentBytes), 512 * kKiB);
  const std::string safetensors("\x00\x04\x00\x00\x00\x00\x00\x00{\"a\":", 13);
  EXPECT_EQ(FirstCut(safetensors, text, kContentBytes), 512 * kKiB);
  const std::string not_safetensors("\xff\xff\xff\xff\xff\xff\xff\xff{\"a\":", 13);
  EXPECT_NE(FirstCut(not_safetensors, text, kContentBytes), 512 * kKiB);
}

TEST(ChooseCutter, LooksAtSizeAndDensity) {
  const std::vector<uint8_t> noise = RandomBytes(2u << 20, 1);
  EXPECT_EQ(FirstCut("", noise, 100 * kKiB), 100 * kKiB);
  EXPECT_EQ(FirstCut("", noise, 128 * kKiB), 128 * kKiB);
  EXPECT_NE(FirstCut("", noise, 2u << 20), 512 * kKiB);
  EXPECT_EQ(FirstCut("", noise, 8u << 20), 512 * kKiB);
  EXPECT_NE(FirstCut("", TextBytes(2u << 20, 2), 8u << 20), 512 * kKiB);
  EXPECT_EQ(ChooseCutter(5, {})->Next(0, ByteView(noise).first(5)), 5u);
}

// Where chunks end when `regions` of `bytes` are cut by themselves.
std::vector<uint64_t> EndsOf(const std::vector<CutRegion>& regions, ByteView bytes) {
  const auto cutter = MakeRegionCutter(regions, MakeContentCutter());
  std::vector<uint64_t> ends;
  for (const uint32_t size : CutAll(*cutter, bytes))
    ends.push_back((ends.empty() ? 0 : ends.back()) + size);
  return ends;
}

TEST(RegionCutter, CutsAtTheEdgesAndFromTheBeginningOfEach) {
  const std::vector<uint8_t> noise = RandomBytes(3u << 20, 5);
  const std::vector<CutRegion> regions = {{100, 100 + 1200 * kKiB, ElementType::kF32},
                                          {100 + 1200 * kKiB, 1400 * kKiB, ElementType::kBytes},
                                          {1401 * kKiB, 2400 * kKiB, ElementType::kBF16}};
  const std::vector<uint64_t> ends = EndsOf(regions, noise);
  const std::vector<uint64_t> first = {100,         100 + 1024 * kKiB, 100 + 1200 * kKiB,
                                       1400 * kKiB, 1401 * kKiB,       1913 * kKiB,
                                       2400 * kKiB};
  ASSERT_GT(ends.size(), first.size());
  EXPECT_TRUE(std::equal(first.begin(), first.end(), ends.begin()));
  EXPECT_EQ(ends.back(), noise.size());

  const auto cutter = MakeRegionCutter(regions, MakeContentCutter());
  EXPECT_EQ(cutter->ElementsAt(0), ElementType::kBytes);
  EXPECT_EQ(cutter->ElementsAt(1401 * kKiB), ElementType::kBF16);
  EXPECT_EQ(cutter->ElementsAt(100), ElementType::kF32) << "also behind a later offset";
  EXPECT_EQ(cutter->ElementsAt(2400 * kKiB), ElementType::kBytes);
  // From the middle, as after a change, the same boundaries come out.
  EXPECT_EQ(cutter->Next(100 + 1024 * kKiB, ByteView(noise).first(1u << 20)), 176 * kKiB);
}

TEST(RegionCutter, EqualRegionsGiveEqualChunksWhereverTheyLie) {
  const std::vector<uint8_t> tensor = RandomBytes(1300 * kKiB, 6);
  const auto names = [&](size_t begin, size_t behind, ElementType elements) {
    std::vector<uint8_t> file = RandomBytes(begin, begin);
    file.insert(file.end(), tensor.begin(), tensor.end());
    file.resize(file.size() + behind, 7);
    const auto cutter =
        MakeRegionCutter({{begin, begin + tensor.size(), elements}}, MakeContentCutter());
    return Names(CutAll(*cutter, file), file);
  };
  // As many elements of either type.
  for (const auto& [elements, count] :
       {std::pair(ElementType::kF32, size_t{2}), std::pair(ElementType::kBF16, size_t{3})}) {
    const std::set<ChunkId> a = names(64, 0, elements);
    const std::set<ChunkId> b = names(70'001, 200'000, elements);
    std::vector<ChunkId> both;
    std::set_intersection(a.begin(), a.end(), b.begin(), b.end(), std::back_inserter(both));
    EXPECT_EQ(both.size(), count);
  }
}

}  // namespace
}  // namespace varve
