// GGUF, versions 2 and 3: llama.cpp's models. Quantised tensors are opaque blocks.
//
// Source: https://github.com/ggml-org/ggml/blob/master/docs/gguf.md
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "store/format/map_builder.h"
#include "store/format/tensor_map.h"

namespace varve {
namespace {

constexpr std::string_view kMagic = "GGUF";
constexpr std::string_view kAlignmentKey = "general.alignment";
constexpr uint64_t kAlignment = 32;
// The format's own limit of a key is 65,535 bytes, of a tensor's name 64.
constexpr uint64_t kNameBytesMax = 65'535;
// Keys, and elements of arrays: vocabularies have some 100,000.
constexpr uint64_t kPairsMax = 1u << 16;
constexpr uint64_t kValuesMax = 16u << 20;
constexpr unsigned kDepthMax = 8;

struct Kind {
  uint32_t number;
  std::string_view name;  // "" for what is no block
  uint64_t elements;      // of a block
  uint64_t bytes;
  DType dtype = DType::kOpaque;
};
constexpr Kind kKinds[] = {
    {0, "", 1, 4, DType::kF32},  {1, "", 1, 2, DType::kF16},   {24, "", 1, 1, DType::kI8},
    {25, "", 1, 2, DType::kI16}, {26, "", 1, 4, DType::kI32},  {27, "", 1, 8, DType::kI64},
    {28, "", 1, 8, DType::kF64}, {30, "", 1, 2, DType::kBF16}, {2, "Q4_0", 32, 18},
    {3, "Q4_1", 32, 20},         {6, "Q5_0", 32, 22},          {7, "Q5_1", 32, 24},
    {8, "Q8_0", 32, 34},         {9, "Q8_1", 32, 36},          {10, "Q2_K", 256, 84},
    {11, "Q3_K", 256, 110},      {12, "Q4_K", 256, 144},       {13, "Q5_K", 256, 176},
    {14, "Q6_K", 256, 210},      {15, "Q8_K", 256, 292},       {16, "IQ2_XXS", 256, 66},
    {17, "IQ2_XS", 256, 74},     {18, "IQ3_XXS", 256, 98},     {19, "IQ1_S", 256, 50},
    {20, "IQ4_NL", 32, 18},      {21, "IQ3_S", 256, 110},      {22, "IQ2_S", 256, 82},
    {23, "IQ4_XS", 256, 136},    {29, "IQ1_M", 256, 56},       {34, "TQ1_0", 256, 54},
    {35, "TQ2_0", 256, 66},      {39, "MXFP4", 32, 17},
};

const Kind* FindKind(uint32_t number) {
  for (const Kind& kind : kKinds)
    if (kind.number == number) return &kind;
  return nullptr;
}

// Types of values, by number; strings and arrays have no size of their own.
constexpr uint64_t kValueBytes[] = {1, 1, 2, 2, 4, 4, 4, 1, 0, 0, 8, 8, 8};
constexpr uint32_t kU32 = 4, kText = 8, kArray = 9, kValueTypes = 13;

// Reads on, until something does not fit; then `ok()` is false.
class Header {
 public:
  explicit Header(ByteSource& source) : source_(source) {}

  Result<uint64_t> Number(size_t bytes) {
    ASSIGN_OR_RETURN(const ByteView view, source_.Get(at_, bytes));
    at_ += bytes;
    ok_ = ok_ && view.size() == bytes;
    if (!ok_) return uint64_t{0};
    ByteReader in(view);
    return bytes == 4 ? in.U32() : in.U64();
  }
  Result<std::string> Text() {
    ASSIGN_OR_RETURN(const uint64_t size, Number(8));
    if (size > kNameBytesMax) ok_ = false;
    if (!ok_) return std::string();
    ASSIGN_OR_RETURN(const ByteView view, source_.Get(at_, static_cast<size_t>(size)));
    Skip(size);
    return std::string(AsText(view));
  }
  void Skip(uint64_t bytes) {
    ok_ = ok_ && at_ <= source_.size_bytes() && bytes <= source_.size_bytes() - at_;
    at_ += ok_ ? bytes : 0;
  }
  void Refuse() { ok_ = false; }
  bool ok() const { return ok_; }
  uint64_t at() const { return at_; }

 private:
  BufferedSource source_;
  uint64_t at_ = 0;
  bool ok_ = true;
};

class GgufReader {
 public:
  explicit GgufReader(ByteSource& source)
      : header_(source), builder_(ContentFormat::kGguf, source.size_bytes()) {}

  Result<TensorMap> Read() {
    header_.Skip(kMagic.size());
    ASSIGN_OR_RETURN(const uint64_t version, header_.Number(4));
    if (version != 2 && version != 3) return Failed("version " + Version(version));
    ASSIGN_OR_RETURN(const uint64_t tensors, header_.Number(8));
    ASSIGN_OR_RETURN(const uint64_t pairs, header_.Number(8));
    if (tensors > kTensorsMax || pairs > kPairsMax) return Failed("too many tensors or keys");
    for (uint64_t i = 0; i < pairs && header_.ok(); ++i) RETURN_IF_ERROR(ReadPair());
    std::vector<Tensor> found;
    for (uint64_t i = 0; i < tensors && header_.ok(); ++i) RETURN_IF_ERROR(ReadTensor(&found));
    if (!header_.ok()) return Failed("the header is cut off or damaged");
    const uint64_t data = (header_.at() + alignment_ - 1) / alignment_ * alignment_;
    for (Tensor& tensor : found) {
      uint64_t begin = 0, end = 0;
      if (__builtin_add_overflow(data, tensor.begin_bytes, &begin) ||
          __builtin_add_overflow(begin, tensor.end_bytes, &end))
        return Failed("a tensor lies outside of the file");
      tensor.begin_bytes = begin;
      tensor.end_bytes = end;
      builder_.Add(std::move(tensor));
    }
    builder_.FailIfOverlapping();
    return builder_.Finish();
  }

 private:
  // A file of the other byte order has its version in the other order, too.
  static std::string Version(uint64_t version) {
    if (version == 1) return "1 is not read";
    return (version & 0xffff) == 0 ? "in big-endian order is not read" : "is unknown";
  }

  TensorMap Failed(std::string why) {
    builder_.Fail(std::move(why));
    return builder_.Finish();
  }

  Status ReadPair() {
    ASSIGN_OR_RETURN(const std::string key, header_.Text());
    ASSIGN_OR_RETURN(const uint64_t type, header_.Number(4));
    if (key != kAlignmentKey || type != kU32) return SkipValue(type, 0);
    ASSIGN_OR_RETURN(alignment_, header_.Number(4));
    if (alignment_ == 0 || alignment_ % 8 != 0) header_.Refuse();
    return Status();
  }

  Status SkipValue(uint64_t type, unsigned depth) {
    if (type >= kValueTypes || depth > kDepthMax || ++values_ > kValuesMax) header_.Refuse();
    if (!header_.ok()) return Status();
    if (type == kText) {
      ASSIGN_OR_RETURN(const uint64_t size, header_.Number(8));
      header_.Skip(size);
    } else if (type == kArray) {
      ASSIGN_OR_RETURN(const uint64_t of, header_.Number(4));
      ASSIGN_OR_RETURN(const uint64_t count, header_.Number(8));
      if (of >= kValueTypes) header_.Refuse();
      if (!header_.ok()) return Status();
      uint64_t size = 0;
      if (kValueBytes[of] != 0) {
        if (__builtin_mul_overflow(count, kValueBytes[of], &size)) header_.Refuse();
        header_.Skip(size);
      }
      for (uint64_t i = 0; kValueBytes[of] == 0 && i < count && header_.ok(); ++i)
        RETURN_IF_ERROR(SkipValue(of, depth + 1));
    } else {
      header_.Skip(kValueBytes[type]);
    }
    return Status();
  }

  // With its offset in the data as its beginning, and its size as its end.
  Status ReadTensor(std::vector<Tensor>* found) {
    Tensor tensor;
    ASSIGN_OR_RETURN(tensor.name, header_.Text());
    ASSIGN_OR_RETURN(const uint64_t axes, header_.Number(4));
    if (axes > kTensorAxesMax) header_.Refuse();
    // The innermost axis comes first.
    for (uint64_t i = 0; i < axes && header_.ok(); ++i) {
      ASSIGN_OR_RETURN(const uint64_t axis, header_.Number(8));
      tensor.shape.insert(tensor.shape.begin(), axis);
    }
    ASSIGN_OR_RETURN(const uint64_t type, header_.Number(4));
    ASSIGN_OR_RETURN(tensor.begin_bytes, header_.Number(8));
    text_bytes_ += tensor.name.size() + 64 + 8 * axes;
    if (text_bytes_ > kTensorTextBytesMax) header_.Refuse();
    if (!header_.ok()) return Status();
    const Kind* const kind = FindKind(static_cast<uint32_t>(type));
    const std::optional<uint64_t> count = ElementCount(tensor.shape);
    if (kind == nullptr) {
      builder_.Note("tensor \"" + tensor.name + "\" is of an unknown type");
      return Status();
    }
    const uint64_t inner = tensor.shape.empty() ? 1 : tensor.shape.back();
    if (!count || inner % kind->elements != 0 ||
        __builtin_mul_overflow(*count / kind->elements, kind->bytes, &tensor.end_bytes)) {
      header_.Refuse();
      return Status();
    }
    tensor.dtype = kind->dtype;
    tensor.type = kind->name;
    found->push_back(std::move(tensor));
    return Status();
  }

  Header header_;
  MapBuilder builder_;
  uint64_t alignment_ = kAlignment;
  uint64_t values_ = 0;
  uint64_t text_bytes_ = 0;
};

}  // namespace

Result<std::optional<TensorMap>> ReadGgufMap(ByteSource& source) {
  uint8_t magic[kMagic.size()];
  ASSIGN_OR_RETURN(const size_t got, source.ReadAt(0, magic));
  if (got < kMagic.size() || AsText(magic) != kMagic) return std::optional<TensorMap>();
  ASSIGN_OR_RETURN(TensorMap map, GgufReader(source).Read());
  return std::optional<TensorMap>(std::move(map));
}

}  // namespace varve
