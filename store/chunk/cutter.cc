#include "store/chunk/cutter.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <string_view>

#include "store/base/check.h"

namespace varve {
namespace {

constexpr uint32_t kContentBytesMin = 32u << 10;
constexpr uint32_t kContentBytesAverage = 128u << 10;
constexpr uint32_t kContentBytesMax = 512u << 10;
constexpr uint32_t kBinaryPieceBytes = 512u << 10;
constexpr uint32_t kWholeBytesMax = 128u << 10;
constexpr uint64_t kLargeBytesMin = 8u << 20;

static_assert(kContentBytesMax <= kChunkBytesMax && kWholeBytesMax <= kChunkBytesMax);

class FixedCutter final : public Cutter {
 public:
  explicit FixedCutter(uint32_t piece_bytes) : piece_bytes_(piece_bytes) {}

  uint32_t Next(uint64_t offset, ByteView window) override {
    // Counted from offset 0, so that a cut in the middle finds the same pieces again.
    const uint64_t left = piece_bytes_ - offset % piece_bytes_;
    return static_cast<uint32_t>(std::min<uint64_t>(left, window.size()));
  }

 private:
  const uint32_t piece_bytes_;
};

// One random word for each byte value: splitmix64 (Steele, Lea, Flood 2014) from
// a fixed seed. Other words would cut elsewhere, and nothing stored before would
// be found again.
constexpr uint64_t kGearSeed = 0x7661727665667331;  // "varvefs1"

constexpr std::array<uint64_t, 256> MakeGear() {
  std::array<uint64_t, 256> gear{};
  uint64_t state = kGearSeed;
  for (uint64_t& word : gear) {
    state += 0x9e3779b97f4a7c15;
    uint64_t mixed = state;
    mixed = (mixed ^ (mixed >> 30)) * 0xbf58476d1ce4e5b9;
    mixed = (mixed ^ (mixed >> 27)) * 0x94d049bb133111eb;
    word = mixed ^ (mixed >> 31);
  }
  return gear;
}

constexpr std::array<uint64_t, 256> kGear = MakeGear();

// A boundary is where the highest `bits` bits of the rolling hash are zero. The
// highest bits depend on the most bytes: bit i on the last i + 1 of them.
constexpr uint64_t HighBits(unsigned bits) { return ~uint64_t{0} << (64 - bits); }

// Normalised chunking, level 2: two bits more than the average asks for before
// it is reached, two fewer behind it.
constexpr unsigned kAverageBits = 17;
static_assert(kContentBytesAverage == 1u << kAverageBits);
constexpr uint64_t kMaskBefore = HighBits(kAverageBits + 2);
constexpr uint64_t kMaskBehind = HighBits(kAverageBits - 2);

struct Rolling {
  uint64_t hash = 0;
  size_t position = 0;
};

// Rolls up to `end`; true when a boundary was found, `position` behind it. Four
// bytes at a time: what the next four add does not depend on the hash, so only
// one shift and one addition of them are in the chain.
bool FindBoundary(const uint8_t* bytes, size_t end, uint64_t mask, Rolling& rolling) {
  uint64_t hash = rolling.hash;
  size_t i = rolling.position;
  for (; i + 4 <= end; i += 4) {
    const uint64_t add1 = kGear[bytes[i]];
    const uint64_t add2 = (add1 << 1) + kGear[bytes[i + 1]];
    const uint64_t add3 = (add2 << 1) + kGear[bytes[i + 2]];
    const uint64_t add4 = (add3 << 1) + kGear[bytes[i + 3]];
    const uint64_t hash1 = (hash << 1) + add1;
    const uint64_t hash2 = (hash << 2) + add2;
    const uint64_t hash3 = (hash << 3) + add3;
    hash = (hash << 4) + add4;
    // Bitwise, so that the common case is one branch.
    if (((hash1 & mask) == 0) | ((hash2 & mask) == 0) | ((hash3 & mask) == 0) |
        ((hash & mask) == 0)) [[unlikely]] {
      const size_t more = (hash1 & mask) == 0   ? 1
                          : (hash2 & mask) == 0 ? 2
                          : (hash3 & mask) == 0 ? 3
                                                : 4;
      rolling.position = i + more;
      return true;
    }
  }
  for (; i < end; ++i) {
    hash = (hash << 1) + kGear[bytes[i]];
    if ((hash & mask) == 0) {
      rolling.position = i + 1;
      return true;
    }
  }
  rolling = {hash, i};
  return false;
}

class ContentCutter final : public Cutter {
 public:
  uint32_t Next(uint64_t /*offset*/, ByteView window) override {
    const size_t end = std::min<size_t>(window.size(), kContentBytesMax);
    if (end <= kContentBytesMin) return static_cast<uint32_t>(end);
    // No boundary lies before the minimum, so no byte before it is looked at.
    Rolling rolling = {0, kContentBytesMin};
    const size_t middle = std::min<size_t>(end, kContentBytesAverage);
    if (!FindBoundary(window.data(), middle, kMaskBefore, rolling)) {
      FindBoundary(window.data(), end, kMaskBehind, rolling);
    }
    return static_cast<uint32_t>(rolling.position);
  }
};

// As many elements of four bytes as of two.
constexpr uint64_t PieceBytes(ElementType elements) {
  return elements == ElementType::kF32 ? 2 * kBinaryPieceBytes : kBinaryPieceBytes;
}
static_assert(PieceBytes(ElementType::kF32) <= kChunkBytesMax);

class RegionCutter final : public Cutter {
 public:
  RegionCutter(std::vector<CutRegion> regions, std::unique_ptr<Cutter> between)
      : regions_(std::move(regions)), between_(std::move(between)) {}

  uint32_t Next(uint64_t offset, ByteView window) override {
    const CutRegion* region = AtOrBehind(offset);
    if (region != nullptr && region->begin_bytes <= offset) {
      const uint64_t whole = PieceBytes(region->elements);
      const uint64_t piece = whole - (offset - region->begin_bytes) % whole;
      return static_cast<uint32_t>(
          std::min({piece, region->end_bytes - offset, uint64_t{window.size()}}));
    }
    if (region != nullptr && region->begin_bytes - offset < window.size())
      window = window.first(static_cast<size_t>(region->begin_bytes - offset));
    if (window.size() <= kWholeBytesMax) return static_cast<uint32_t>(window.size());
    return between_->Next(offset, window);
  }

  ElementType ElementsAt(uint64_t offset) override {
    const CutRegion* region = AtOrBehind(offset);
    if (region == nullptr || region->begin_bytes > offset) return ElementType::kBytes;
    return region->elements;
  }

 private:
  // The first region that ends behind `offset`. Offsets mostly ascend.
  const CutRegion* AtOrBehind(uint64_t offset) {
    if (next_ > 0 && regions_[next_ - 1].end_bytes > offset) next_ = 0;
    while (next_ < regions_.size() && regions_[next_].end_bytes <= offset) ++next_;
    return next_ < regions_.size() ? &regions_[next_] : nullptr;
  }

  const std::vector<CutRegion> regions_;
  const std::unique_ptr<Cutter> between_;
  size_t next_ = 0;
};

bool StartsWith(ByteView bytes, std::string_view magic) { return AsText(bytes).starts_with(magic); }

bool IsSafetensors(ByteView bytes) {
  constexpr uint64_t kHeaderBytesMax = 100'000'000;  // the format's own limit
  ByteReader reader(bytes);
  const uint64_t header_bytes = reader.U64();
  const uint8_t first = reader.U8();
  return reader.ok() && header_bytes >= 2 && header_bytes <= kHeaderBytesMax && first == '{';
}

// Formats that keep their tensors at fixed places: torch's zip, NumPy, GGUF, HDF5.
bool IsTensorFormat(ByteView bytes) {
  using std::string_view_literals::operator""sv;
  for (const std::string_view magic :
       {"PK\x03\x04"sv, "\x93NUMPY"sv, "GGUF"sv, "\x89HDF\r\n\x1a\n"sv}) {
    if (StartsWith(bytes, magic)) return true;
  }
  return IsSafetensors(bytes);
}

// Numbers, compressed and encrypted bytes: more than 6 bits of entropy per byte.
// Text has 4 to 5, machine code and tables about 5.5.
bool IsDense(ByteView bytes) {
  constexpr double kDenseBits = 6.0;
  constexpr size_t kSampleBytesMin = 4096;
  if (bytes.size() < kSampleBytesMin) return false;
  std::array<uint32_t, 256> counts{};
  for (const uint8_t byte : bytes) ++counts[byte];
  double bits = 0;
  for (const uint32_t count : counts) {
    if (count == 0) continue;
    const double share = count / static_cast<double>(bytes.size());
    bits -= share * std::log2(share);
  }
  return bits > kDenseBits;
}

}  // namespace

std::unique_ptr<Cutter> MakeFixedCutter(uint32_t piece_bytes) {
  CHECK(piece_bytes >= 1 && piece_bytes <= kChunkBytesMax);
  return std::make_unique<FixedCutter>(piece_bytes);
}

std::unique_ptr<Cutter> MakeRegionCutter(std::vector<CutRegion> regions,
                                         std::unique_ptr<Cutter> between) {
  return std::make_unique<RegionCutter>(std::move(regions), std::move(between));
}

std::unique_ptr<Cutter> MakeContentCutter() { return std::make_unique<ContentCutter>(); }

std::unique_ptr<Cutter> ChooseCutter(uint64_t content_bytes, ByteView first_bytes) {
  if (content_bytes <= kWholeBytesMax) return MakeFixedCutter(kWholeBytesMax);
  if (IsTensorFormat(first_bytes)) return MakeFixedCutter(kBinaryPieceBytes);
  if (content_bytes >= kLargeBytesMin && IsDense(first_bytes)) {
    return MakeFixedCutter(kBinaryPieceBytes);
  }
  return MakeContentCutter();
}

}  // namespace varve
