#include "store/codec/difference.h"

#include <algorithm>
#include <array>
#include <cstring>

namespace varve {
namespace {

// Of a sample, as FloatSample's.
constexpr size_t kSlices = 8;
constexpr size_t kSliceElements = 256;

// A gap of so many unchanged elements and more is written in steps of it. No byte is larger,
// so the fast Huffman coder takes them.
constexpr uint8_t kLongGap = kNoStep * 2;
// With fewer than one of these changed, gaps take no more bits than classes of all elements,
// and Huffman codes, which need a bit for each, lose less.
constexpr size_t kSparseOneOf = 4;

struct Header {
  ChunkId base;
  ElementType elements = ElementType::kBytes;
  StepClass by = StepClass::kBits;
  uint8_t rest_bytes = 0;  // less than an element, at the payload's end
  bool sparse = false;
  uint32_t count = 0;    // elements
  uint32_t changed = 0;  // classes that follow
  uint32_t gap_bytes = 0;
  StoredStream gaps, classes;
  uint32_t tails_bytes = 0;

  static constexpr size_t kBytes = kBaseBytes + 4 + 3 * 4 + 2 * 8 + 4;
  void Write(MutableBytes out) const;
};

void Put(uint8_t*& to, uint64_t value, size_t bytes) {
  std::memcpy(to, &value, bytes);
  to += bytes;
}

void Header::Write(MutableBytes out) const {
  uint8_t* to = std::copy(base.bytes.begin(), base.bytes.end(), out.data());
  Put(to, static_cast<uint8_t>(elements), 1);
  Put(to, static_cast<uint8_t>(by), 1);
  Put(to, rest_bytes, 1);
  Put(to, sparse ? 1 : 0, 1);
  for (const uint32_t number : {count, changed, gap_bytes}) Put(to, number, 4);
  for (const StoredStream& stream : {gaps, classes}) {
    Put(to, static_cast<uint8_t>(stream.method), 4);
    Put(to, stream.stored_bytes, 4);
  }
  Put(to, tails_bytes, 4);
}

Status Corrupt(const char* what) { return Status(Code::kCorrupt, what); }

Result<Header> ReadHeader(ByteView payload) {
  ByteReader in(payload);
  Header header;
  const ByteView id = in.Raw(kBaseBytes);
  std::copy(id.begin(), id.end(), header.base.bytes.begin());
  header.elements = static_cast<ElementType>(in.U8());
  const uint8_t by = in.U8();
  header.by = static_cast<StepClass>(by);
  header.rest_bytes = in.U8();
  const uint8_t sparse = in.U8();
  header.sparse = sparse == 1;
  for (uint32_t* number : {&header.count, &header.changed, &header.gap_bytes}) *number = in.U32();
  for (StoredStream* stream : {&header.gaps, &header.classes}) {
    const uint32_t method = in.U32();
    if (method >= kStreamMethods) return Corrupt("stream of an unknown method");
    stream->method = static_cast<StreamMethod>(method);
    stream->stored_bytes = in.U32();
  }
  header.tails_bytes = in.U32();
  if (!in.ok() || !HasSteps(header.elements) || by >= kStepClasses || sparse > 1)
    return Corrupt("header of a difference");
  const uint64_t width = WidthOf(header.elements);
  if (header.rest_bytes >= width || header.count * width + header.rest_bytes > kChunkBytesMax ||
      header.changed > header.count || header.gap_bytes > header.count ||
      (!header.sparse && header.changed != header.count))
    return Corrupt("difference beyond a chunk");
  if (uint64_t{Header::kBytes} + header.gaps.stored_bytes + header.classes.stored_bytes +
          header.tails_bytes + header.rest_bytes !=
      payload.size())
    return Corrupt("difference of another size");
  return header;
}

// Of the classes only this one has its bit.
size_t Unchanged(ByteView classes) {
  constexpr uint64_t kOnes = 0x0101010101010101;
  constexpr size_t kWords = 255;  // whose sums fit into a byte each
  size_t count = 0, i = 0;
  while (i + sizeof(uint64_t) <= classes.size()) {
    uint64_t sums = 0;
    for (size_t k = 0; k < kWords && i + sizeof(uint64_t) <= classes.size(); ++k) {
      uint64_t word;
      std::memcpy(&word, classes.data() + i, sizeof(word));
      sums += word / kNoStep & kOnes;
      i += sizeof(word);
    }
    for (; sums != 0; sums >>= 8) count += sums & 0xff;
  }
  for (; i < classes.size(); ++i) count += classes[i] == kNoStep;
  return count;
}

// Leaves the classes of changed elements alone, and writes how many are unchanged before each.
// Returns the bytes of gaps.
size_t Thin(uint8_t* classes, size_t count, uint8_t* gaps) {
  size_t changed = 0, gap_bytes = 0, gap = 0;
  for (size_t i = 0; i < count; ++i) {
    if (classes[i] == kNoStep) {
      if (++gap == kLongGap) {
        gaps[gap_bytes++] = kLongGap;
        gap = 0;
      }
      continue;
    }
    gaps[gap_bytes++] = static_cast<uint8_t>(gap);
    classes[changed++] = classes[i];
    gap = 0;
  }
  return gap_bytes;
}

// The elements that the gaps lead to; false when these are not `changed` below `count`.
bool Places(ByteView gaps, size_t count, size_t changed, std::vector<uint32_t>* places) {
  places->clear();
  size_t at = 0;
  for (const uint8_t gap : gaps) {
    at += gap;
    if (gap >= kLongGap) continue;
    if (at >= count) return false;
    places->push_back(static_cast<uint32_t>(at++));
  }
  return places->size() == changed;
}

}  // namespace

Result<ChunkId> BaseOf(ByteView payload) {
  ChunkId id;
  if (payload.size() < kBaseBytes) return Corrupt("payload without a base");
  std::copy_n(payload.begin(), kBaseBytes, id.bytes.begin());
  if (id == ChunkId{}) return Corrupt("payload without a base");
  return id;
}

// Fills in what is expected to be left of a byte.
StepClass DifferenceEncoder::Choose(ByteView raw, ByteView base, ElementType elements,
                                    double* ratio) {
  const size_t width = WidthOf(elements), count = raw.size() / width;
  const size_t stride = count / kSlices, slice = std::min(stride, kSliceElements);
  std::array<uint8_t, kSliceElements> classes;
  std::array<uint8_t, TailsBound(kSliceElements)> tails;
  StepClass best = StepClass::kBits;
  *ratio = 2;
  for (const StepClass by : {StepClass::kBits, StepClass::kExponent}) {
    ByteCounts counts;
    size_t tails_bytes = 0;
    for (size_t i = 0; i < kSlices; ++i) {
      const size_t begin = (i * stride + (stride - slice) / 2) * width;
      tails_bytes += TakeSteps(elements, by, raw.subspan(begin, slice * width),
                               base.subspan(begin, slice * width), classes.data(), tails.data());
      counts.Add({classes.data(), slice});
    }
    const auto sampled = static_cast<double>(kSlices * slice);
    const double expected =
        (counts.EntropyBits() / 8 + static_cast<double>(tails_bytes) / sampled) /
        static_cast<double>(width);
    if (expected >= *ratio) continue;
    *ratio = expected;
    best = by;
  }
  return best;
}

std::optional<ByteView> DifferenceEncoder::Encode(ByteView raw, ByteView base,
                                                  const ChunkId& base_id, ElementType elements,
                                                  size_t bytes_max, StreamEncoder& streams) {
  CHECK(raw.size() == base.size() && raw.size() <= kChunkBytesMax);
  const size_t width = WidthOf(elements), count = raw.size() / width;
  if (!HasSteps(elements) || count < kSlices) return std::nullopt;
  double ratio;
  const StepClass by = Choose(raw, base, elements, &ratio);
  if (ratio * static_cast<double>(raw.size()) > static_cast<double>(bytes_max)) return std::nullopt;

  classes_.resize(std::max(classes_.size(), count));
  gaps_.resize(std::max(gaps_.size(), count));
  tails_.resize(std::max(tails_.size(), TailsBound(count)));
  Header header;
  header.base = base_id;
  header.elements = elements;
  header.by = by;
  header.rest_bytes = static_cast<uint8_t>(raw.size() % width);
  header.count = static_cast<uint32_t>(count);
  header.tails_bytes =
      static_cast<uint32_t>(TakeSteps(elements, by, raw.first(count * width),
                                      base.first(count * width), classes_.data(), tails_.data()));
  const size_t unchanged = Unchanged({classes_.data(), count});
  header.sparse = (count - unchanged) * kSparseOneOf < count;
  header.changed = static_cast<uint32_t>(header.sparse ? count - unchanged : count);
  if (header.sparse)
    header.gap_bytes = static_cast<uint32_t>(Thin(classes_.data(), count, gaps_.data()));

  const size_t bound =
      Header::kBytes + 2 * StreamEncoder::Bound(count) + header.tails_bytes + header.rest_bytes;
  payload_.resize(std::max(payload_.size(), bound));
  const MutableBytes payload(payload_);
  size_t end = Header::kBytes;
  const auto encode = [&](const std::vector<uint8_t>& bytes, size_t size) {
    const StoredStream stored =
        streams.Encode({bytes.data(), size}, StreamEffort::kHuffman, payload.subspan(end));
    end += stored.stored_bytes;
    return stored;
  };
  header.gaps = encode(gaps_, header.gap_bytes);
  header.classes = encode(classes_, header.changed);
  if (end + header.tails_bytes + header.rest_bytes > bytes_max) return std::nullopt;
  std::copy_n(tails_.begin(), header.tails_bytes, payload.begin() + static_cast<ptrdiff_t>(end));
  end += header.tails_bytes;
  const ByteView rest = raw.subspan(count * width);
  std::copy(rest.begin(), rest.end(), payload.begin() + static_cast<ptrdiff_t>(end));
  header.Write(payload);
  return payload.first(end + rest.size());
}

Status DifferenceDecoder::Decode(ByteView payload, ByteView base, MutableBytes out,
                                 StreamDecoder& streams) {
  ASSIGN_OR_RETURN(const Header header, ReadHeader(payload));
  const size_t steps_bytes = header.count * WidthOf(header.elements);
  if (steps_bytes + header.rest_bytes != out.size() || base.size() != out.size())
    return Corrupt("difference of another size");
  ByteReader in(payload);
  in.Raw(Header::kBytes);
  classes_.resize(std::max<size_t>(classes_.size(), header.changed));
  gaps_.resize(std::max<size_t>(gaps_.size(), header.gap_bytes));
  const MutableBytes gaps(gaps_.data(), header.gap_bytes);
  const MutableBytes classes(classes_.data(), header.changed);
  RETURN_IF_ERROR(streams.Decode(header.gaps.method, in.Raw(header.gaps.stored_bytes), gaps));
  RETURN_IF_ERROR(
      streams.Decode(header.classes.method, in.Raw(header.classes.stored_bytes), classes));
  const ByteView tails = in.Raw(header.tails_bytes);
  const MutableBytes steps = out.first(steps_bytes);
  bool sound;
  if (header.sparse) {
    std::copy_n(base.begin(), steps_bytes, steps.begin());
    sound = Places(gaps, header.count, header.changed, &places_) &&
            PatchSteps(header.elements, header.by, places_.data(), classes.data(), header.changed,
                       tails, steps);
  } else {
    sound = MakeSteps(header.elements, header.by, base.first(steps_bytes), classes.data(), tails,
                      steps);
  }
  if (!sound) return Corrupt("steps of a difference");
  const ByteView rest = in.Raw(header.rest_bytes);
  std::copy(rest.begin(), rest.end(), out.begin() + static_cast<ptrdiff_t>(steps_bytes));
  return {};
}

}  // namespace varve
