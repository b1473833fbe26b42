#include "store/codec/sample.h"

#include <algorithm>

#include "store/codec/byte_planes.h"

namespace varve {
namespace {

// A plane with more bits in a byte than this is not coded. A sample of 2,048 random bytes has
// 7.91 bits, and signs that are all alike leave 7.
constexpr double kBitsMax = 7.6;
// Below, runs are likely: Huffman codes need a bit for each byte.
constexpr double kBitsMatch = 1.2;
// Eight-byte words seen before, of a hundred, that make zstd worth a trial.
constexpr size_t kRepeatsPercent = 4;

}  // namespace

FloatSample::FloatSample(ByteView raw, ElementType elements) : width_(WidthOf(elements)) {
  const size_t count = raw.size() / width_;
  const size_t stride = count / kSlices;
  const size_t slice = std::min(stride, kSliceElements);
  bytes_.reserve(kSlices * slice * width_);
  for (size_t i = 0; i < kSlices; ++i) {
    const ByteView from = raw.subspan((i * stride + (stride - slice) / 2) * width_, slice * width_);
    bytes_.insert(bytes_.end(), from.begin(), from.end());
  }
  const size_t sampled = kSlices * slice;
  std::vector<uint8_t> split(sampled * width_);
  PlanePointers planes{};
  for (unsigned p = 0; p < width_; ++p) planes[p] = split.data() + p * sampled;
  SplitPlanes(width_, bytes_, planes);
  for (unsigned p = 0; p < width_; ++p) JudgePlane(p, {planes[p], sampled});
}

void FloatSample::JudgePlane(unsigned plane, ByteView bytes) {
  ByteCounts counts;
  counts.Add(bytes);
  const double bits = counts.EntropyBits();
  efforts_[plane] = bits > kBitsMax     ? StreamEffort::kStore
                    : bits < kBitsMatch ? StreamEffort::kMatch
                                        : StreamEffort::kHuffman;
  bits_[plane] = bits > kBitsMax ? 8 : bits;
}

double FloatSample::PlanesRatio() const {
  double bits = 0;
  for (unsigned p = 0; p < width_; ++p) bits += bits_[p];
  return bits / (8 * width_);
}

bool FloatSample::Repeats() const {
  std::array<uint64_t, 1024> seen{};
  const size_t words = bytes_.size() / 8;
  size_t repeats = 0;
  for (size_t i = 0; i < words; ++i) {
    uint64_t word;
    std::memcpy(&word, bytes_.data() + 8 * i, sizeof(word));
    uint64_t& place = seen[word * 0x9e3779b97f4a7c15 >> 54];
    if (place == word) ++repeats;
    place = word;
  }
  return repeats * 100 >= words * kRepeatsPercent;
}

}  // namespace varve
