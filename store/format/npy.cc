#include "store/format/npy.h"

#include <algorithm>

#include "store/base/bytes.h"
#include "store/format/map_builder.h"

namespace varve {
namespace {

constexpr std::string_view kMagic = "\x93NUMPY";
constexpr size_t kHeaderBytesMax = 64u << 10;
constexpr size_t kTypeTextMax = 64;

// A reader of the one kind of text that numpy writes: a Python dictionary of a text or a list, a
// truth value and a tuple of integers.
class Literal {
 public:
  explicit Literal(std::string_view text) : text_(text) {}

  bool Take(char c) {
    Blanks();
    if (text_.empty() || text_.front() != c) return false;
    text_.remove_prefix(1);
    return true;
  }
  bool Word(std::string_view word) {
    Blanks();
    if (!text_.starts_with(word)) return false;
    text_.remove_prefix(word.size());
    return true;
  }
  // 'text' without escapes, which no array of numbers has.
  std::optional<std::string_view> Text() {
    Blanks();
    if (text_.empty() || (text_.front() != '\'' && text_.front() != '"')) return std::nullopt;
    const size_t end = text_.find(text_.front(), 1);
    if (end == std::string_view::npos) return std::nullopt;
    const std::string_view inner = text_.substr(1, end - 1);
    text_.remove_prefix(end + 1);
    return inner;
  }
  std::optional<uint64_t> Number() {
    Blanks();
    uint64_t value = 0;
    size_t digits = 0;
    for (; digits < text_.size() && text_[digits] >= '0' && text_[digits] <= '9'; ++digits) {
      if (__builtin_mul_overflow(value, 10u, &value) ||
          __builtin_add_overflow(value, static_cast<uint64_t>(text_[digits] - '0'), &value))
        return std::nullopt;
    }
    if (digits == 0) return std::nullopt;
    text_.remove_prefix(digits);
    Take('L');  // Python 2
    return value;
  }
  // A list, with whatever it holds.
  bool SkipList() {
    if (!Take('[')) return false;
    for (size_t depth = 1; depth > 0;) {
      if (text_.empty()) return false;
      const char c = text_.front();
      if (c == '\'' || c == '"') {
        if (!Text()) return false;
        continue;
      }
      if (c == '[' || c == '(') ++depth;
      if (c == ']' || c == ')') --depth;
      text_.remove_prefix(1);
    }
    return true;
  }

 private:
  void Blanks() {
    const size_t first = text_.find_first_not_of(" \n\t");
    text_.remove_prefix(std::min(first, text_.size()));
  }
  std::string_view text_;
};

struct Header {
  std::string descr;  // empty: fields
  bool fields = false;
  bool fortran_order = false;
  std::vector<uint64_t> shape;
};

bool ParseShape(Literal& in, std::vector<uint64_t>* shape) {
  if (!in.Take('(')) return false;
  while (!in.Take(')')) {
    const std::optional<uint64_t> axis = in.Number();
    if (!axis || shape->size() >= kTensorAxesMax) return false;
    shape->push_back(*axis);
    if (!in.Take(',')) return in.Take(')');
  }
  return true;
}

bool ParseDescr(Literal& in, Header* header) {
  if (const auto text = in.Text()) {
    header->descr = *text;
    return text->size() <= kTypeTextMax;
  }
  header->fields = true;
  return in.SkipList();
}

std::optional<Header> ParseHeader(std::string_view text) {
  Literal in(text);
  Header header;
  unsigned seen = 0;
  if (!in.Take('{')) return std::nullopt;
  while (!in.Take('}')) {
    const auto key = in.Text();
    if (!key || !in.Take(':')) return std::nullopt;
    if (*key == "descr" && (seen & 1) == 0) {
      seen |= 1;
      if (!ParseDescr(in, &header)) return std::nullopt;
    } else if (*key == "fortran_order" && (seen & 2) == 0) {
      seen |= 2;
      header.fortran_order = in.Word("True");
      if (!header.fortran_order && !in.Word("False")) return std::nullopt;
    } else if (*key == "shape" && (seen & 4) == 0) {
      seen |= 4;
      if (!ParseShape(in, &header.shape)) return std::nullopt;
    } else {
      return std::nullopt;
    }
    if (!in.Take(',') && !in.Take('}')) return std::nullopt;
    if (seen == 7) return header;
  }
  return std::nullopt;
}

struct NativeType {
  std::string_view code;  // without the byte order
  DType dtype;
};
constexpr NativeType kNativeTypes[] = {
    {"b1", DType::kBool}, {"u1", DType::kU8},    {"i1", DType::kI8},  {"u2", DType::kU16},
    {"i2", DType::kI16},  {"u4", DType::kU32},   {"i4", DType::kI32}, {"u8", DType::kU64},
    {"i8", DType::kI64},  {"f2", DType::kF16},   {"f4", DType::kF32}, {"f8", DType::kF64},
    {"c8", DType::kC64},  {"c16", DType::kC128},
};

// Sets the type; returns the bytes of one element, nothing for what has none (Python objects).
std::optional<uint64_t> SetType(const std::string& descr, Tensor* tensor) {
  std::string_view code = descr;
  const char order = code.empty() ? '\0' : code.front();
  if (order == '<' || order == '>' || order == '|' || order == '=') code.remove_prefix(1);
  tensor->big_endian = order == '>';
  for (const NativeType& native : kNativeTypes) {
    if (native.code != code) continue;
    tensor->dtype = native.dtype;
    return ElementBytes(native.dtype);
  }
  tensor->dtype = DType::kOpaque;
  tensor->type = code;
  const std::string_view units = code.substr(0, code.find('['));
  if (units.empty()) return std::nullopt;
  const std::optional<uint64_t> size = Literal(units.substr(1)).Number();
  uint64_t bytes = 0;
  switch (code.front()) {
    case 'S':
    case 'a':
    case 'V':
    case 'M':
    case 'm':
    case 'f':
    case 'c':
      return size;
    case 'U':
      if (!size || __builtin_mul_overflow(*size, 4u, &bytes)) return std::nullopt;
      return bytes;
    default:
      return std::nullopt;
  }
}

// Of the columns first, in elements. REQUIRES: the shape has a count.
std::vector<uint64_t> FortranStrides(const std::vector<uint64_t>& shape) {
  std::vector<uint64_t> strides;
  uint64_t stride = 1;
  for (const uint64_t axis : shape) {
    strides.push_back(stride);
    stride *= axis;
  }
  return strides;
}

// Fills in the type and the range; returns the problem.
std::string Describe(const Header& header, uint64_t data_begin, uint64_t size, Tensor* tensor) {
  tensor->shape = header.shape;
  tensor->begin_bytes = data_begin;
  tensor->end_bytes = size;
  if (header.fields) {
    tensor->type = "fields";
    return "";
  }
  const std::optional<uint64_t> element = SetType(header.descr, tensor);
  if (!element) return "the elements are no numbers";
  const std::optional<uint64_t> count = ElementCount(header.shape);
  uint64_t bytes = 0;
  if (!count || __builtin_mul_overflow(*count, *element, &bytes))
    return "the array has more elements than any file";
  if (bytes > size - data_begin) {
    return "expected " + std::to_string(bytes) + " bytes of elements, has " +
           std::to_string(size - data_begin);
  }
  tensor->end_bytes = data_begin + bytes;
  if (!header.fortran_order || *count == 0) return "";
  std::vector<uint64_t> strides = FortranStrides(header.shape);
  if (!IsContiguous(header.shape, strides)) tensor->strides = std::move(strides);
  return "";
}

}  // namespace

Result<NpyArray> ReadNpy(ByteSource& source) {
  NpyArray array;
  uint8_t first[12];
  ASSIGN_OR_RETURN(const size_t got, source.ReadAt(0, first));
  ByteReader in(ByteView(first, got));
  array.recognised = AsText(in.Raw(kMagic.size())) == kMagic;
  const unsigned major = in.U8();
  in.U8();
  if (!array.recognised || !in.ok() || major == 0 || major > 3) {
    array.recognised = false;
    return array;
  }
  const uint64_t header_bytes = major == 1 ? in.U16() : in.U32();
  const uint64_t header_begin = kMagic.size() + 2 + (major == 1 ? 2 : 4);
  array.problem = "the header is damaged";
  if (!in.ok() || header_bytes > kHeaderBytesMax) return array;

  std::string text(static_cast<size_t>(header_bytes), '\0');
  ASSIGN_OR_RETURN(
      const size_t read,
      source.ReadAt(header_begin, {reinterpret_cast<uint8_t*>(text.data()), text.size()}));
  if (read != text.size()) return array;
  const std::optional<Header> header = ParseHeader(text);
  if (!header) return array;
  array.problem =
      Describe(*header, header_begin + header_bytes, source.size_bytes(), &array.tensor);
  return array;
}

Result<std::optional<TensorMap>> ReadNpyMap(ByteSource& source) {
  ASSIGN_OR_RETURN(NpyArray array, ReadNpy(source));
  if (!array.recognised) return std::optional<TensorMap>();
  MapBuilder builder(ContentFormat::kNpy, source.size_bytes());
  if (array.problem.empty()) {
    builder.Add(std::move(array.tensor));
  } else {
    builder.Fail(std::move(array.problem));
  }
  return std::optional<TensorMap>(builder.Finish());
}

}  // namespace varve
