#include "fs/core/tensor_sketch.h"

#include <algorithm>
#include <bit>
#include <cstring>
#include <string>

#include "store/base/checksum.h"
#include "store/codec/elements.h"

namespace varve {
namespace {

// Integers in the order of the numbers, so that what is close differs in few bits.
uint32_t Ordered(uint32_t bits) {
  constexpr uint32_t kSign = 0x80000000;
  return (bits & kSign) != 0 ? ~bits : bits | kSign;
}

bool IsSampled(const Tensor& tensor) {
  return tensor.strides.empty() &&
         ElementsOf(tensor.dtype, tensor.big_endian) != ElementType::kBytes &&
         tensor.end_bytes > tensor.begin_bytes;
}

// Of complex numbers a part.
unsigned PartBytes(const Tensor& tensor) {
  return WidthOf(ElementsOf(tensor.dtype, tensor.big_endian));
}

}  // namespace

namespace {

uint64_t SumOf(const TensorMap& map, bool types, const Fingerprinter& fingerprinter) {
  uint64_t sum = 0;
  std::string text;
  for (const Tensor& tensor : map.tensors) {
    text.clear();
    ByteWriter out(&text);
    out.Text(tensor.name);
    if (types) {
      out.U8(static_cast<uint8_t>(tensor.dtype));
      out.Text(tensor.type);
    }
    for (const uint64_t axis : tensor.shape) out.Varint(axis);
    sum += fingerprinter.Hash64(AsBytes(text));
  }
  return sum == 0 ? 1 : sum;
}

}  // namespace

uint64_t SignatureOf(const TensorMap& map, const Fingerprinter& fingerprinter) {
  return SumOf(map, /*types=*/true, fingerprinter);
}

uint64_t ArchitectureOf(const TensorMap& map, const Fingerprinter& fingerprinter) {
  return SumOf(map, /*types=*/false, fingerprinter);
}

uint64_t RoundedHash(const Sketch& sketch) {
  if (sketch.empty()) return 0;
  std::string text;
  ByteWriter out(&text);
  for (const uint32_t bits : sketch)
    out.U16(static_cast<uint16_t>((bits + 0x7fff + (bits >> 16 & 1)) >> 16));
  return Checksum64(AsBytes(text));
}

Result<Sketch> SketchOf(const TensorMap& map, ByteSource& source) {
  std::vector<const Tensor*> tensors;
  for (const Tensor& tensor : map.tensors)
    if (IsSampled(tensor)) tensors.push_back(&tensor);
  std::sort(tensors.begin(), tensors.end(),
            [](const Tensor* a, const Tensor* b) { return a->name < b->name; });
  uint64_t total = 0;
  for (const Tensor* tensor : tensors)
    total += (tensor->end_bytes - tensor->begin_bytes) / PartBytes(*tensor);
  Sketch sketch;
  uint64_t begin = 0;  // of the tensor, counted in numbers
  size_t sample = 0;
  for (const Tensor* tensor : tensors) {
    const unsigned bytes = PartBytes(*tensor);
    const uint64_t count = (tensor->end_bytes - tensor->begin_bytes) / bytes;
    for (; sample < kSketchSamples; ++sample) {
      // In the middle of each of as many equal parts, without an overflow.
      const uint64_t place = total / kSketchSamples * sample + total / kSketchSamples / 2;
      if (place >= begin + count) break;
      uint8_t number[8] = {};
      const MutableBytes out(number + sizeof(number) - bytes, bytes);
      ASSIGN_OR_RETURN(const size_t got,
                       source.ReadAt(tensor->begin_bytes + (place - begin) * bytes, out));
      if (got != bytes) return Status(Code::kBusy, "the content became shorter");
      uint32_t high = 0;
      std::memcpy(&high, number + 4, sizeof(high));
      sketch.push_back(high);
    }
    begin += count;
  }
  return sketch;
}

unsigned SketchWidthBits(const Sketch& sketch) {
  const bool narrow = std::all_of(sketch.begin(), sketch.end(),
                                  [](uint32_t number) { return (number & 0xffff) == 0; });
  return narrow ? 16 : 32;
}

double SketchDistance(const Sketch& a, const Sketch& b) {
  const size_t count = std::min(a.size(), b.size());
  if (count == 0) return 32;
  const unsigned unused = 32 - std::max(SketchWidthBits(a), SketchWidthBits(b));
  uint64_t bits = 0;
  for (size_t i = 0; i < count; ++i) {
    const uint32_t x = Ordered(a[i]) >> unused;
    const uint32_t y = Ordered(b[i]) >> unused;
    bits += static_cast<uint64_t>(std::bit_width(x > y ? x - y : y - x));
  }
  return static_cast<double>(bits) / static_cast<double>(count);
}

}  // namespace varve
